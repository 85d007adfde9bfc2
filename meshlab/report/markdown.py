"""The run's summary as markdown, for Prefect's `report` artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from meshlab.report.causes import cause_rows
from meshlab.report.publish import opened_at
from meshlab.report.rendering import render_text
from meshlab.report.tables import grouped


def summary_markdown(result: Mapping[str, Any]) -> str:
    """Verdict and numbers first, then what is no pass and why, then the steps.

    Input: the content of `result.json`.
    """
    counts = Counter(check["verdict"] for check in result["checks"])
    return render_text(
        "summary.md",
        result=result,
        cluster=result["cluster"],
        tally=", ".join(f"{count} {verdict}" for verdict, count in counts.items()),
        not_passed=grouped(check for check in result["checks"] if check["verdict"] != "pass"),
        published=opened_at(result["published"]) if result.get("published") else "",
        causes=cause_rows(result.get("causes", ())),
        own_images=sorted({entry["image"] for entry in result["images"].values() if entry["ours"]}),
    )
