"""The history: one SQLite file, through SQLAlchemy. Every run once, whatever is recorded twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import HistoryError
from meshlab.history import tables
from meshlab.history.records import (
    Alert,
    CheckRow,
    EdgeRow,
    FindingRow,
    MeasureRow,
    RunRecord,
    StepRow,
)

BUSY_SECONDS = 20  # how long a writer waits for another one
_PARTS: tuple[tuple[str, Table, Any], ...] = (
    ("steps", tables.steps, StepRow),
    ("checks", tables.checks, CheckRow),
    ("measures", tables.measures, MeasureRow),
    ("edges", tables.edges, EdgeRow),
    ("findings", tables.findings, FindingRow),
)
_HEAD = tuple(column.name for column in tables.runs.columns)


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
                with self._writing() as db:
                    _bring_up(db, path)

    @classmethod
    def of(cls, config: LabConfig, machine: Machine, *, create: bool = True) -> History:
        """The history that the settings name."""
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
            db.execute(insert(tables.runs), {name: getattr(run, name) for name in _HEAD})
            for name, table, _ in _PARTS:
                _put(db, table, run.run_id, [asdict(row) for row in getattr(run, name)])
            versions = [{"name": name, "version": version} for name, version in run.versions.items()]
            _put(db, tables.versions, run.run_id, versions)

    def runs(
        self, *, flow: str | None = None, cluster: str | None = None, last: int | None = None
    ) -> list[RunRecord]:
        """Runs with all that belongs to them, oldest first. last: only so many of the newest.

        cluster: `provider/name`, as `cluster_key` gives it.
        """
        wanted: Select[Any] = select(tables.runs)
        if flow is not None:
            wanted = wanted.where(tables.runs.c.flow == flow)
        if cluster is not None:
            provider, _, name = cluster.partition("/")
            wanted = wanted.where(tables.runs.c.provider == provider, tables.runs.c.cluster == name)
        wanted = wanted.order_by(tables.runs.c.started.desc(), tables.runs.c.run_id.desc()).limit(last)
        with self._told("read"), self._engine.connect() as db:
            heads = list(reversed(db.execute(wanted).all()))
            return _whole(db, heads)

    def run(self, run_id: str) -> RunRecord:
        """One run. HistoryError names the newest ones where there is none of this id."""
        with self._told("read"), self._engine.connect() as db:
            heads = db.execute(select(tables.runs).where(tables.runs.c.run_id == run_id)).all()
            if heads:
                return _whole(db, heads)[0]
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
            remedy = "mend or move the file away (it is made anew), or name another: history.path"
            if isinstance(problem, DatabaseError) and "locked" in cause:
                remedy = "another run writes to it; try again"
            raise HistoryError(
                f"the history {self.path} can't be {doing}: {cause}", remedy=remedy
            ) from problem


def history_path(config: LabConfig, machine: Machine) -> Path:
    """Where the history is: the setting, or `history.sqlite` in the XDG state folder."""
    return config.history.path.expanduser() if config.history.path else machine.state / "history.sqlite"


def cluster_key(run: RunRecord) -> str:
    """What runs must share to be compared: `provider/name`."""
    return f"{run.provider}/{run.cluster}"


def _bring_up(db: Connection, path: Path) -> None:
    """Make the tables, or bring an older file's to ours, unless another process has done so meanwhile."""
    version = _version_of(db, path)
    if version == 0:
        tables.metadata.create_all(db)
    else:
        for statement in (
            each for older in range(version, tables.VERSION) for each in tables.UPGRADES[older]
        ):
            db.exec_driver_sql(statement)
    db.execute(text(f"PRAGMA user_version = {tables.VERSION:d}"))


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


def _set_up(connection: Any, _record: object) -> None:
    """Each connection: transactions begin where we say, not where the driver guesses; foreign keys are kept."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _put(db: Connection, table: Table, run_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        db.execute(
            insert(table),
            [{"run_id": run_id, "position": position, **row} for position, row in enumerate(rows)],
        )


def _whole(db: Connection, heads: Sequence[Row[Any]]) -> list[RunRecord]:
    """The runs of these rows with their parts, by one query per table."""
    ids = [head.run_id for head in heads]
    parts: dict[str, dict[str, list[Any]]] = {}
    for name, table, kind in _PARTS:
        wanted = [field.name for field in fields(kind)]
        grouped: dict[str, list[Any]] = {}
        for row in db.execute(
            select(table).where(table.c.run_id.in_(ids)).order_by(table.c.position)
        ).mappings():
            grouped.setdefault(row["run_id"], []).append(kind(**{key: row[key] for key in wanted}))
        parts[name] = grouped
    versions: dict[str, dict[str, str]] = {}
    table = tables.versions
    for each in db.execute(select(table).where(table.c.run_id.in_(ids)).order_by(table.c.position)):
        versions.setdefault(each.run_id, {})[each.name] = each.version
    found = []
    for head in heads:
        columns: dict[str, Any] = {name: getattr(head, name) for name in _HEAD}
        columns |= {name: tuple(parts[name].get(head.run_id, ())) for name, _, _ in _PARTS}
        found.append(RunRecord(**columns, versions=versions.get(head.run_id, {})))
    return found


def _alert(row: Mapping[Any, Any]) -> Alert:
    return Alert(**{each.name: row[each.name] for each in fields(Alert)})


def _same(alert: Alert) -> Any:
    return (tables.alerts.c.incident == alert.incident) & (tables.alerts.c.ended == alert.ended)
