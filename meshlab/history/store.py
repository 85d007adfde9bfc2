"""The history: one SQLite file, through SQLAlchemy. Every run once, whatever is recorded twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, create_engine, delete, event, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import HistoryError
from meshlab.history import tables
from meshlab.history.records import Alert, RunRecord

BUSY_SECONDS = 20  # how long a writer waits for another one


class History:
    """The store of runs. Every method raises HistoryError where the file can't be read or written."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the file; made with its folder where it is missing, unless `create` is False."""
        self.path = path
        if not create and (not path.exists() or (path.is_file() and path.stat().st_size == 0)):
            raise HistoryError(
                f"there is no history at {path}",
                remedy="run a flow first, or name the file with --set history.path",
            )
        self._engine = create_engine(
            make_url("sqlite://").set(database=str(path)), connect_args={"timeout": BUSY_SECONDS}
        )
        event.listen(self._engine, "connect", _set_up)
        with self._told("opened"):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._engine.connect() as db:
                version = _version_of(db, path)
            if version < tables.VERSION:
                with self._writing() as db:  # unless another process has done so meanwhile
                    if (version := _version_of(db, path)) < tables.VERSION:
                        tables.bring_up(db, version)

    @classmethod
    def of(cls, config: LabConfig, machine: Machine, *, create: bool = True) -> History:
        """Open the history that the settings name.

        Args:
            config: The settings of the run.
            machine: This machine: its folders and what it has.
            create: Make it where it is missing.

        Returns:
            It.

        Raises:
            HistoryError: It can't be opened.
        """
        return cls(history_path(config, machine), create=create)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, run: RunRecord) -> None:
        """Keep a run. One that is there already is replaced, so recording twice is the same as once."""
        with self._told("written"), self._writing() as db:
            db.execute(delete(tables.runs).where(tables.runs.c.run_id == run.run_id))
            db.execute(insert(tables.runs), tables.row_of(run))

    def runs(self, *, flow: str | None = None, cluster: str | None = None) -> list[RunRecord]:
        """Read runs.

        Args:
            flow: Of this flow only.
            cluster: `provider/name`, as `cluster_key` gives it.

        Returns:
            The runs, oldest first.
        """
        wanted: Select[Any] = select(tables.runs.c.record)
        if flow is not None:
            wanted = wanted.where(tables.runs.c.flow == flow)
        if cluster is not None:
            provider, _, name = cluster.partition("/")
            wanted = wanted.where(tables.runs.c.provider == provider, tables.runs.c.cluster == name)
        wanted = wanted.order_by(tables.runs.c.started, tables.runs.c.run_id)
        with self._told("read"), self._engine.connect() as db:
            return [tables.RECORD.validate_json(record) for record in db.execute(wanted).scalars()]

    def runs_until(self, run_id: str) -> list[RunRecord]:
        """Read the runs of this run's flow and cluster, up to itself, oldest first."""
        mine = self.run(run_id)
        known = self.runs(flow=mine.flow, cluster=cluster_key(mine))
        return [each for each in known if each.started <= mine.started]

    def run(self, run_id: str) -> RunRecord:
        """One run. HistoryError names the newest ones where there is none of this id."""
        with self._told("read"), self._engine.connect() as db:
            wanted = select(tables.runs.c.record).where(tables.runs.c.run_id == run_id)
            if (found := db.execute(wanted).scalar()) is not None:
                return tables.RECORD.validate_json(found)
            newest = db.execute(
                select(tables.runs.c.run_id).order_by(tables.runs.c.started.desc()).limit(3)
            ).scalars()
            raise HistoryError(
                f"the history has no run {run_id!r}", remedy=f"the newest are: {', '.join(newest) or 'none'}"
            )

    def post_alert(self, alert: Alert) -> bool:
        """Keep a message that is to be sent; False where it is there already, whichever process wrote it."""
        with self._told("written"), self._writing() as db:
            return db.execute(insert(tables.alerts).prefix_with("OR IGNORE"), asdict(alert)).rowcount == 1

    def claim_alert(self, *, at: str, stale: str) -> Alert | None:
        """The oldest message that waits, for this process alone to send; None when none does.

        stale: who began to send it before this moment is taken for dead.
        """
        waiting = (tables.alerts.c.sent == "") & (tables.alerts.c.tried < stale)
        order = (tables.alerts.c.at, tables.alerts.c.ended)
        with self._told("written"), self._writing() as db:
            row = (
                db.execute(select(tables.alerts).where(waiting).order_by(*order).limit(1)).mappings().first()
            )
            if row is None:
                return None
            alert = _alert(row)
            db.execute(update(tables.alerts).where(_same(alert)).values(tried=at))
            return alert

    def settle_alert(self, alert: Alert, *, sent: str) -> None:
        """Note when a claimed message got through; "" that it did not, and can be claimed again at once."""
        with self._told("written"), self._writing() as db:
            db.execute(update(tables.alerts).where(_same(alert)).values(sent=sent, tried=sent))

    def alerts(self) -> list[Alert]:
        """Every message, sent or waiting, oldest first."""
        with self._told("read"), self._engine.connect() as db:
            found = db.execute(select(tables.alerts).order_by(tables.alerts.c.at, tables.alerts.c.ended))
            return [_alert(row) for row in found.mappings()]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that holds the file from its first statement on: what it reads is still so when it writes."""
        with self._engine.connect() as db:
            db.exec_driver_sql("BEGIN IMMEDIATE")
            yield db
            db.commit()

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as problem:
            cause = str(getattr(problem, "orig", None) or getattr(problem, "strerror", None) or problem)
            remedy = "repair the file, or move it away (the next run makes a new one), or name another: history.path"
            if isinstance(problem, DatabaseError) and "locked" in cause:
                remedy = "another run writes to it; try again"
            raise HistoryError(
                f"the history {self.path} can't be {doing}: {cause}", remedy=remedy
            ) from problem


def history_path(config: LabConfig, machine: Machine) -> Path:
    """Say where the history is: the setting, or `history.sqlite` in the XDG state folder.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.

    Returns:
        The path.
    """
    return config.history.path.expanduser() if config.history.path else machine.state / "history.sqlite"


def cluster_key(run: RunRecord) -> str:
    """What runs must share to be compared: `provider/name`."""
    return f"{run.provider}/{run.cluster}"


def _version_of(db: Connection, path: Path) -> int:
    """The file's version, 0 for a new one.

    A newer one than ours is refused, as what it means is not known here; so is another program's database.
    """
    filled = db.execute(
        text("SELECT count(*) FROM sqlite_master")
    ).scalar_one()  # before another makes the tables
    version: int = db.execute(text("PRAGMA user_version")).scalar_one()
    if version > tables.VERSION:
        raise HistoryError(
            f"the history {path} is of version {version}, this program knows {tables.VERSION}",
            remedy="use the newer program, or name another file: history.path",
        )
    if version == 0 and filled:
        raise HistoryError(f"{path} is another program's database", remedy="name another file: history.path")
    return version


def _set_up(connection: Any, _: object) -> None:
    """Let transactions begin where we say, not where the driver guesses."""
    connection.isolation_level = None


def _alert(row: Mapping[Any, Any]) -> Alert:
    return Alert(**{each.name: row[each.name] for each in fields(Alert)})


def _same(alert: Alert) -> Any:
    return (tables.alerts.c.incident == alert.incident) & (tables.alerts.c.ended == alert.ended)
