"""What was asked of the mesh's gateways, and what they answered: every request, the refusals with their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from meshlab.report.rendering import TONES, render, table

FAMILIES = ("ingress.", "gateway.", "egress.")
REQUESTS, COUNTED, BYPASS = "requests", "counted", "by-pass that remains"  # names in the checks' evidence


def edge_html(checks: Sequence[Mapping[str, Any]]) -> Markup:
    """The requests of every ingress, gateway and egress check as tables; nothing where none was made."""
    told = [
        {
            "check": check,
            "tone": TONES[check["verdict"]],
            "requests": table(check["evidence"].get(REQUESTS, ()), f"Requests of {check['id']}"),
            "counted": table(
                check["evidence"].get(COUNTED, ()), f"Who counted the requests of {check['id']}"
            ),
            "bypass": check["evidence"].get(BYPASS, ""),
        }
        for check in checks
        if check["id"].startswith(FAMILIES) and check["evidence"].get(REQUESTS)
    ]
    return render("edge.html", told=told) if told else Markup("")
