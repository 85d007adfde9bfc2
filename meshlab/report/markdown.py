"""The run's summary as markdown, for Prefect's `report` artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from meshlab.core.text import pluralize
from meshlab.report.tables import grouped


def summary_markdown(result: Mapping[str, Any]) -> str:
    """Verdict and numbers first, then what is no pass and why, then the steps.

    Input: the content of `result.json`.
    """
    counts = Counter(check["verdict"] for check in result["checks"])
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no check was made"
    cluster = result["cluster"]
    where = "ended before there was a cluster"
    if cluster["name"]:
        size = (
            f"{cluster['provider']}, {pluralize(cluster['nodes'], 'nodes')}"
            if cluster["nodes"]
            else cluster["provider"]
        )
        where = f"on cluster **{cluster['name']}** ({size}), distribution {result['distribution']}"
    lines = [
        f"# {result['verdict'].upper()}: {tally}",
        "",
        f"Run `{result['run_id']}` of flow {result['flow']} {where}.",
        "",
    ]
    not_passed = grouped(check for check in result["checks"] if check["verdict"] != "pass")
    if not_passed:
        lines += ["| check | verdict | why | what to do |", "|---|---|---|---|"]
        for check in not_passed:
            why, what = _cell(check["reason"] or check["summary"]), _cell(check["remedy"])
            lines.append(f"| {_cell(check['id'])} | **{check['verdict']}** | {why} | {what} |")
        lines.append("")
    if result["measures"]:
        lines += ["| measure | value |", "|---|---|"]
        for measure in result["measures"]:
            labels = " ".join(f"{key}={value}" for key, value in measure["labels"].items())
            name = _cell(f"{measure['name']} {labels}".strip())
            lines.append(f"| {name} | {measure['value']:g} {measure['unit']} |")
        lines.append("")
    ours = sorted({entry["image"] for entry in result["images"].values() if entry["ours"]})
    if ours:
        names = ", ".join(f"`{name}`" for name in ours)
        lines += [f"Images of our own, in place of the official ones: {names}.", ""]
    lines += ["| step | state | seconds |", "|---|---|---|"]
    lines += [f"| {_cell(s['name'])} | {s['state']} | {s['seconds']:.1f} |" for s in result["steps"]]
    return "\n".join(lines) + "\n"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").strip().replace("\n", "<br>")
