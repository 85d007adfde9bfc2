"""authz.truth-table: what the policies say, against what requests meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from meshlab.checks.base import broken, failed, infra_error, passed
from meshlab.run.results import CheckResult, Table
from meshlab.security.authorization.table import Row, TruthTable

CHECK = "authz.truth-table"
IN_WORDS = {
    "allow": "allowed",
    "deny": "denied by a policy",
    "refused": "refused for want of mutual TLS",
    "unreachable": "not let through by the caller's own proxy",
    "unauthenticated": "refused for a bad token",
    "forbidden-token": "refused for a token of another audience",
}
MOST = 40  # differences that the evidence lists; the file holds all


def truth_table(table: TruthTable, *, file: str = "") -> CheckResult:
    """Judge the truth table: every cell was observed as expected.

    broken: the control did not trip (a request that is refused now got no answer before the policies
    either, or nothing is refused, or nothing allowed). fail: cells that differ. infra-error: cells for
    which the policies say something that the evaluator does not know.

    Args:
        table: The cells.
        file: Where both tables are kept whole.

    Returns:
        The check.
    """
    evidence = evidence_of(table, file)
    if table.untripped:
        first = table.untripped[0]
        why = (
            f"{len(table.untripped)} requests got no answer before the policies were applied either, "
            f"the first: {first.case}: {first.control.text}"
        )
        return broken(
            CHECK, why, evidence, remedy="see app.productpage: the application must answer all callers"
        )
    outcomes = table.outcomes
    if not table.refused or not outcomes.get("allow"):
        return broken(
            CHECK,
            f"the policies tell nothing apart: {_counted(outcomes)}",
            evidence,
            remedy="look at the AuthorizationPolicies of the namespace and of the root namespace",
        )
    if table.differences:
        return failed(
            CHECK,
            [row.difference for row in table.differences[:MOST]],
            evidence,
            remedy="compare the policy named with the sidecar's: istioctl x authz check <pod of the service>",
        )
    if table.unknown:
        first = table.unknown[0]
        named = dict.fromkeys(flaw for row in table.unknown for flaw in row.decision.unknown)
        return infra_error(
            CHECK,
            f"{len(table.unknown)} of {len(table.rows)} cells can't be judged: {'; '.join([*named][:5])} "
            f"(the first: {first.case})",
            evidence,
            remedy="the evaluator guesses nothing: look at those policies by hand, or take them out of the namespace",
        )
    return passed(CHECK, _summary(table), evidence)


def evidence_of(table: TruthTable, file: str = "") -> dict[str, Any]:
    """The table in numbers, with the cells that are findings."""
    controls = Counter(row.control.text for row in table.refused)
    return {
        "cells": len(table.rows),
        "agree": sum(row.agrees is True for row in table.rows),
        "expected": table.outcomes,
        "observed": dict(Counter(row.seen for row in table.rows)),
        "requests": table.sent,
        "control": {"refused cells, asked before the policies": dict(controls)},
        "differences": _rows(table.differences[:MOST]),
        "unknown": _rows(table.unknown[:MOST]),
        "rules": len(table.rules),
        "rules no request touched": list(table.untouched),
        **({"file": file} if file else {}),
    }


def _rows(rows: tuple[Row, ...]) -> Table:
    return [
        {
            "client": row.case.client,
            "service": row.case.service,
            "request": f"{row.case.method} {row.case.path}",
            "token": row.case.token or "none",
            "expected": row.wanted,
            "observed": row.seen,
            "decided by": row.decided_by,
        }
        for row in rows
    ]


def _summary(table: TruthTable) -> str:
    touched = f"{len(table.rules) - len(table.untouched)} of {len(table.rules)} rules met"
    return f"{len(table.rows)} of {len(table.rows)} cells as the policies say ({_counted(table.outcomes)}), {touched}"


def _counted(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {IN_WORDS.get(name, name)}" for name, count in sorted(outcomes.items()))
