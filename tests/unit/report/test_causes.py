"""Objects that explain red checks, each once, the one that explains most of them first; shown where people look."""

from __future__ import annotations

from typing import Any

from meshlab.report.causes import cause_rows, place_of
from meshlab.report.html import report_html
from meshlab.report.markdown import summary_markdown
from meshlab.report.material import ReportMaterial
from meshlab.report.sections import draw
from tests.examples.results import FULL

SLOW, HIDES = "VirtualService shop/slow", "Sidecar shop/narrow"


def causes() -> list[dict[str, str]]:
    rows = (("a.one", SLOW), ("a.one", HIDES), ("a.two", HIDES), ("a.three", HIDES), ("a.three", SLOW))
    return [
        {"check": c, "object": o, "change": "changed today by kubectl", "why": f"what {o} does"}
        for c, o in rows
    ]


def test_an_object_stands_once_with_all_that_it_explains() -> None:
    rows = cause_rows(causes())
    assert [row["object"] for row in rows] == [HIDES, SLOW]
    assert rows[0]["red checks"] == "a.one, a.two, a.three" and rows[0]["changed"]
    assert cause_rows([]) == []
    assert [place_of(causes(), each) for each in (HIDES, SLOW, "Service shop/other")] == [1, 2, None]


def test_report_and_summary_name_it_and_a_green_run_names_none() -> None:
    red: dict[str, Any] = {**FULL, "causes": causes()}
    assert HIDES in report_html(red, draw(ReportMaterial())) and HIDES in summary_markdown(red)
    assert HIDES not in report_html(FULL, draw(ReportMaterial())) and "explained by" not in summary_markdown(
        FULL
    )
