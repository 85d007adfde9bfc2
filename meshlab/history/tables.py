"""The store's tables. `VERSION` is written into the file; `bring_up` makes a file, or brings an older one to it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Boolean, Column, Connection, MetaData, String, Table, Text, insert

from meshlab.history.records import CheckRow, EdgeRow, FindingRow, MeasureRow, RunRecord, StepRow

VERSION = 3
RECORD = TypeAdapter(RunRecord)
metadata = MetaData()
# One row a run. record: all that is kept of it, as JSON; the other columns are what is asked for.
runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("flow", String, nullable=False, index=True),
    Column("provider", String, nullable=False),
    Column("cluster", String, nullable=False),
    Column("started", String, nullable=False, index=True),
    Column("record", Text, nullable=False),
)
# Messages to people, kept until they got through: one row when an incident begins, and one when it ends, whichever
# process looks. tried: when a process last began to send it. sent: "" until it got through.
alerts = Table(
    "alerts",
    metadata,
    Column("incident", String, primary_key=True),
    Column("ended", Boolean, primary_key=True),
    Column("at", String, nullable=False),
    Column("text", Text, nullable=False),
    *(Column(name, String, nullable=False, server_default="") for name in
      ("series", "title", "context", "tried", "sent")),
)  # fmt: skip

# In version 1 an alert was written when it was sent.
ALERTS_SINCE_2 = (
    *(f"ALTER TABLE alerts ADD COLUMN {name} VARCHAR DEFAULT '' NOT NULL" for name in
      ("series", "title", "context", "tried", "sent")),
    "UPDATE alerts SET sent = at",
    "UPDATE alerts SET series = coalesce((SELECT flow || ' on ' || provider || '/' || cluster FROM runs"
    " WHERE run_id = substr(incident, instr(incident, ':') + 1)), '')",
)  # fmt: skip
# Until version 2 a run was a row here and rows in a table for each of its parts.
PARTS_UNTIL_2 = {
    "steps": StepRow,
    "checks": CheckRow,
    "measures": MeasureRow,
    "edges": EdgeRow,
    "findings": FindingRow,
}
HEAD_UNTIL_2 = (
    "run_id", "flow", "verdict", "started", "finished", "provider", "cluster", "nodes", "distribution", "directory"
)  # fmt: skip


def row_of(run: RunRecord) -> dict[str, Any]:
    """Return the row that keeps a run."""
    asked = {name: getattr(run, name) for name in runs.columns.keys() if name != "record"}  # noqa: SIM118
    return {**asked, "record": json.dumps(asdict(run))}


def bring_up(db: Connection, version: int) -> None:
    """Make the tables, or bring those of an older file to ours; nothing of what it keeps is lost.

    Args:
        db: A connection in a transaction.
        version: The file's; 0 for a new one.
    """
    if version == 1:
        for statement in ALERTS_SINCE_2:
            db.exec_driver_sql(statement)
    kept = _runs_until_2(db) if version else []
    for name in ("versions", *PARTS_UNTIL_2, "runs") if version else ():
        db.exec_driver_sql(f"DROP TABLE {name}")
    metadata.create_all(db)
    for run in kept:
        db.execute(insert(runs), row_of(run))
    db.exec_driver_sql(f"PRAGMA user_version = {VERSION:d}")


def _runs_until_2(db: Connection) -> list[RunRecord]:
    def rows(table: str, names: tuple[str, ...], run_id: str) -> list[dict[str, Any]]:
        query = f"SELECT {', '.join(names)} FROM {table} WHERE run_id = ? ORDER BY position"
        return [dict(row) for row in db.exec_driver_sql(query, (run_id,)).mappings()]

    found = []
    for head in db.exec_driver_sql(f"SELECT {', '.join(HEAD_UNTIL_2)} FROM runs").mappings().all():
        parts: dict[str, Any] = {
            name: tuple(
                kind(**row) for row in rows(name, tuple(each.name for each in fields(kind)), head["run_id"])
            )
            for name, kind in PARTS_UNTIL_2.items()
        }
        versions = rows("versions", ("name", "version"), head["run_id"])
        found.append(RunRecord(**head, **parts, versions={row["name"]: row["version"] for row in versions}))
    return found
