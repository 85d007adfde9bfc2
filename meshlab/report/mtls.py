"""The report's section on mutual TLS: what was on the wire, who proved to be whom, who was refused, what was counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from meshlab.report.rendering import render, table
from meshlab.report.tables import Row

TITLE = "Mutual TLS"
PHASE, WIRE = "phase", "edge"


def mtls_body(checks: Sequence[Mapping[str, Any]]) -> Markup:
    """The section's body, from the evidence of the mtls checks; nothing where none of them was made."""
    made = [check for check in checks if check["id"].startswith("mtls.") and check["verdict"] != "skipped"]
    skipped = [check for check in checks if check["id"] == "mtls.packets" and check["verdict"] == "skipped"]
    if not made:
        return Markup("")
    return render("mtls.html", parts=[(check, _tables(check)) for check in [*made, *skipped]])


def _tables(check: Mapping[str, Any]) -> Markup:
    evidence = check["evidence"]
    drawn = {
        "mtls.refusal": lambda: table(
            _plaintext(evidence.get("plaintext", [])), "Plain HTTP from a pod outside the mesh"
        ),
        "mtls.packets": lambda: table(_wire(evidence.get("wire", [])), "What passed, by edge"),
        "mtls.identity": lambda: (
            table(evidence.get("edges", []), "Identities that the TLS sessions proved")
            + table(evidence.get("certificates", []), "Certificates of the proxies")
        ),
        "mtls.counter": lambda: table(evidence.get("edges", []), "Requests sent and counted, by edge"),
    }
    return drawn[check["id"]]() if check["id"] in drawn else Markup("")


def _plaintext(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """One row per path, the two phases side by side."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        into = found.setdefault((row["server"], row["by"]), {"server": row["server"], "by": row["by"]})
        into[row[PHASE]] = row["answers"]
        into[f"heard under {row[PHASE]}"] = row["application_log_lines"]
    return list(found.values())


def _wire(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    return [
        {
            WIRE: row["edge"],
            "nodes": row["nodes"],
            "requests": row["requests"],
            f"bytes on the wire ({row['wire']})": row["wire_bytes"],
            "TLS records": row["tls_records"],
            "HTTP in clear": row["wire_http"],
            "markers": row["wire_markers"],
            f"markers at the application ({row['app']})": row["app_markers"],
        }
        for row in rows
    ]
