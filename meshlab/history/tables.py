"""The store's tables. `VERSION` is written into the file; an older file is brought up to it by `store`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

VERSION = 2
metadata = MetaData()


def _row_of_run() -> tuple[Column[str], Column[int]]:
    """The run that a row belongs to, and its place among the others: what comes back is in the same order."""
    return (
        Column("run_id", ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
    )


runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("flow", String, nullable=False, index=True),
    Column("verdict", String, nullable=False),
    Column("started", String, nullable=False, index=True),
    Column("finished", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("cluster", String, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("distribution", String, nullable=False),
    Column("directory", Text, nullable=False),
)
steps = Table(
    "steps",
    metadata,
    *_row_of_run(),
    Column("name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)
checks = Table(
    "checks",
    metadata,
    *_row_of_run(),
    Column("check_id", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("summary", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
measures = Table(
    "measures",
    metadata,
    *_row_of_run(),
    Column("name", String, nullable=False),
    Column("labels", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("value", Float, nullable=False),
)
edges = Table(
    "edges",
    metadata,
    *_row_of_run(),
    Column("source", String, nullable=False),
    Column("target", String, nullable=False),
    Column("protocol", String, nullable=False),
)
findings = Table(
    "findings",
    metadata,
    *_row_of_run(),
    Column("check_id", String, nullable=False),
    Column("code", String, nullable=False),
    Column("resource", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("message", Text, nullable=False),
)
versions = Table(
    "versions",
    metadata,
    *_row_of_run(),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
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

# What brings a file of an older version to the next one. In version 1 an alert was written when it was sent.
UPGRADES: Mapping[int, tuple[str, ...]] = {
    1: (
        *(f"ALTER TABLE alerts ADD COLUMN {name} VARCHAR DEFAULT '' NOT NULL" for name in
          ("series", "title", "context", "tried", "sent")),
        "UPDATE alerts SET sent = at",
        "UPDATE alerts SET series = coalesce((SELECT flow || ' on ' || provider || '/' || cluster FROM runs"
        " WHERE run_id = substr(incident, instr(incident, ':') + 1)), '')",
    ),
}  # fmt: skip
