"""The run's summary as markdown, for Prefect's `report` artifact.

Prefect's page (since 3.7) draws Mermaid, and shows tables and `<details>`; an older one shows their text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.report import catches
from meshlab.report.causes import arranged, best_of, cause_rows
from meshlab.report.publish import opened_at
from meshlab.report.rendering import render_text
from meshlab.report.tables import Row
from meshlab.report.units import format_value

EDGES = "graph.edges"
MOST_EDGES = 60  # that are drawn: with more nobody finds anything
MOST_ROWS = 80  # of the matrix of who may do what; the report has all
UNFIT = re.compile(r"[^A-Za-z0-9 ./:_-]")  # for a label of Mermaid: a name of Kubernetes has none of it
VERDICTS = ("pass", "fail", "broken", "infra-error", "skipped")


def summary_markdown(result: Mapping[str, Any], authorization: Sequence[Row] = ()) -> str:
    """Verdict and numbers first, then what is no pass and why, then the graph, the matrices, and the steps.

    Args:
        result: The content of `result.json`.
        authorization: Who may do what, as `authz.matrix_rows` gives it.

    Returns:
        The text.
    """
    counts = Counter(check["verdict"] for check in result["checks"])
    causes = result.get("causes", ())
    red = [check for check in result["checks"] if check["verdict"] != "pass"]
    caught = result.get("catches") or []
    return render_text(
        "summary.md",
        result=result,
        cluster=result["cluster"],
        tally=", ".join(f"{count} {verdict}" for verdict, count in counts.items()),
        families=_families(result["checks"]),
        verdicts=[verdict for verdict in VERDICTS if counts[verdict]],
        not_passed=arranged(red, causes),
        best=best_of(causes),
        causes=cause_rows(causes),
        published=opened_at(result["published"]) if result.get("published") else "",
        graph=mermaid(result["checks"]),
        authorization=authorization[:MOST_ROWS],
        more=len(authorization) - MOST_ROWS,
        catches=caught,
        caught_by=catches.columns(caught),
        mark=lambda catch, check: catches.MARKS[catches.cell(catch, check)],
        own_images=sorted({entry["image"] for entry in result["images"].values() if entry["ours"]}),
    )


def mermaid(checks: Sequence[Mapping[str, Any]]) -> str:
    """Draw the service graph for Mermaid, from the evidence of the check of its edges.

    Args:
        checks: As in `result.json`.

    Returns:
        The drawing; "" where no edge was counted, or there are too many to be read.
    """
    found: Mapping[str, Any] = next((check["evidence"] for check in checks if check["id"] == EDGES), {})
    edges = found.get("edges") or []
    if not edges or len(edges) > MOST_EDGES:
        return ""
    nodes = {name: f"n{number}" for number, name in enumerate(_names(edges))}
    lines = ["flowchart LR", *(f'  {key}["{UNFIT.sub("?", name)}"]' for name, key in nodes.items())]
    for edge in edges:
        lost = edge.get("part") == "lost"
        label = "lost" if lost else ", ".join(_numbers(edge))
        arrow = "-.->" if lost else "-->"
        lines.append(
            f"  {nodes[edge['from']]} {arrow}" + (f'|"{label}"|' if label else "") + f" {nodes[edge['to']]}"
        )
    wrong = [str(number) for number, edge in enumerate(edges) if _is_wrong(edge)]
    return "\n".join(
        [*lines, *([f"  linkStyle {','.join(wrong)} stroke:#d1242f,stroke-width:3px"] if wrong else [])]
    )


def _names(edges: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(edge[end]) for edge in edges for end in ("from", "to")))


def _is_wrong(edge: Mapping[str, Any]) -> bool:
    return (
        edge.get("part") in ("lost", "extra") or bool(edge.get("error_percent")) or edge.get("mtls") is False
    )


def _numbers(edge: Mapping[str, Any]) -> list[str]:
    """What stands at an arrow: rate, errors, response time, plaintext. Mermaid's labels take no sign of percent alone."""
    unit = "cps" if edge.get("protocol") == "tcp" else "reqps"
    told = [format_value(edge["rate_rps"], unit)] if edge.get("rate_rps") else []
    told += [f"{format_value(edge['error_percent'], 'percent')} errors"] if edge.get("error_percent") else []
    told += [format_value(edge["p95_ms"], "ms")] if edge.get("p95_ms") else []
    told += ["plaintext"] if edge.get("mtls") is False else []
    return [text.replace('"', "") for text in told]


def _families(checks: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Verdicts by the first word of the checks' ids."""
    found: dict[str, Counter[str]] = {}
    for check in checks:
        found.setdefault(check["id"].partition(".")[0], Counter())[check["verdict"]] += 1
    return found
