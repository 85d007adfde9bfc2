"""The audit's section: every finding with what it is about, why, the request that shows it, and the YAML that mends it.

Made from `result.json` alone: the checks `audit.*` hold the findings as evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from meshlab.report.rendering import render, table

PREFIX = "audit."
TONES = {"error": "bad", "warning": "warn", "info": "note"}


def audit_html(checks: Sequence[Mapping[str, Any]]) -> Markup:
    """Rules with their numbers, then the findings that count, then those that somebody accepted; nothing without a rule."""
    rules = [each for each in checks if each["id"].startswith(PREFIX)]
    if not rules:
        return Markup("")
    every = [
        {"rule": rule["id"].removeprefix(PREFIX), "verdict": rule["verdict"], **row}
        for rule in rules
        for row in rule["evidence"].get("findings", [])
    ]
    overview = table(
        [
            {
                "rule": rule["id"].removeprefix(PREFIX),
                "verdict": rule["verdict"],
                "looked at": f"{rule['evidence'].get('looked', 0)} {rule['evidence'].get('what', '')}",
                "findings": len(rule["evidence"].get("findings", [])),
                "accepted": sum(bool(row["accepted"]) for row in rule["evidence"].get("findings", [])),
            }
            for rule in rules
        ],
        "Rules of the audit",
    )
    counted = [row for row in every if not row["accepted"]]
    return render(
        "audit.html",
        overview=overview,
        groups=[("Findings", counted), ("Accepted risks", [row for row in every if row["accepted"]])],
        tones=TONES,
        rules=len(rules),
        total=len(every),
    )
