"""The truth table drawn: per service a matrix of requests against callers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from meshlab.report.rendering import FAIL, NOTE, PASS, WARN, Cell, matrix, render, table
from meshlab.security.authorization.model import Outcome
from meshlab.security.authorization.table import Row, TruthTable

TITLE = "Who may do what"


def authz_body(found: TruthTable) -> Markup:
    """The section: differences first, then a matrix for each service, then the rules that no request met."""
    services = dict.fromkeys(row.case.service for row in found.rows)
    matrices = [
        _matrix(service, [row for row in found.rows if row.case.service == service]) for service in services
    ]
    agreeing = sum(row.agrees is True for row in found.rows)
    return render(
        "authz.html",
        cells=len(found.rows),
        agreeing=agreeing,
        sent=found.sent,
        differences=[row.difference for row in found.differences],
        unknown=[f"{row.case}: {row.decided_by}" for row in found.unknown[:20]],
        matrices=matrices,
        rules=table(
            [
                {"policy": name, "rule": index, "cells that it matched": cells}
                for (name, index), cells in found.rules.items()
            ],
            "Rules of the policies, and the cells that each matched",
        ),
        rules_count=len(found.rules),
        untouched=list(found.untouched),
    )


def matrix_rows(found: TruthTable) -> list[dict[str, Any]]:
    """The table for an artifact: a row for each request, a column for each caller."""
    clients = list(dict.fromkeys(row.case.client for row in found.rows))
    lines: dict[tuple[str, str, str, str], dict[str, Row]] = {}
    for row in found.rows:
        case = row.case
        lines.setdefault((case.service, case.method, case.path, case.token), {})[case.client] = row
    return [
        {
            "service": service,
            "request": f"{method} {path}",
            "token": token or "none",
            **{client: _cell(cells[client]).text if client in cells else "" for client in clients},
        }
        for (service, method, path, token), cells in lines.items()
    ]


def _matrix(service: str, rows: Sequence[Row]) -> Markup:
    callers = list(dict.fromkeys(_caller(row) for row in rows))
    lines: dict[str, dict[str, Cell]] = {}
    for row in rows:
        lines.setdefault(f"{row.case.method} {row.case.path}", {})[_caller(row)] = _cell(row)
    return matrix(
        f"Requests to {service}: expected and observed",
        service,
        callers,
        {line: [cells.get(caller) for caller in callers] for line, cells in lines.items()},
    )


def _caller(row: Row) -> str:
    return f"{row.case.client}, {row.case.token}" if row.case.token else row.case.client


def _cell(row: Row) -> Cell:
    """Its text alone tells all: a cell that agrees shows what was met, one that differs shows both."""
    if row.agrees is None:
        return Cell(f"unknown; met {row.seen}", WARN, row.decided_by)
    if not row.agrees:
        return Cell(f"expected {row.wanted}, met {row.seen}", FAIL, row.decided_by)
    return Cell(row.seen, PASS if row.decision.outcome is Outcome.ALLOW else NOTE, row.decided_by)
