"""Objects that explain red checks, each once, the one that explains most of them first; shown where people look."""

from __future__ import annotations

from typing import Any

from meshlab.report.causes import Explained, arranged, cause_rows, place_of
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


def red(*names: str) -> list[dict[str, Any]]:
    return [
        {"id": name, "title": name, "verdict": "fail", "scope": "observe", "seconds": 0.1, "evidence": {},
         "summary": f"what {name} saw", "reason": f"why {name}", "remedy": f"mend {name}"}
        for name in names
    ]  # fmt: skip


def test_checks_that_one_object_explains_best_are_told_under_it() -> None:
    told = arranged(red("a.zero", "a.one", "a.two", "a.three", "a.four"), causes())
    assert [each if isinstance(each, Explained) else each["id"] for each in told] == [
        "a.zero", "a.one", Explained(HIDES, f"what {HIDES} does", "changed today by kubectl",
                                     tuple(red("a.two", "a.three"))), "a.four",
    ]  # fmt: skip
    (group,) = [each for each in told if isinstance(each, Explained)]
    assert group.title == "2 checks" and "kubectl -n shop get sidecar narrow" in group.remedy
    assert arranged(red("a.zero"), ()) == red("a.zero")


def test_the_first_screen_tells_the_object_first_and_folds_the_checks() -> None:
    checks = red("a.one", "a.two", "a.three", "a.four")
    told = report_html(
        {**FULL, "verdict": "fail", "checks": checks, "causes": causes()}, draw(ReportMaterial())
    )
    first = told[told.index("What did not pass") : told.index("</section>")]
    assert first.index(HIDES) < first.index("a.one"), "what explains most comes first"
    folded = first[first.index("<details>") : first.index("</details>")]
    assert "mend a.two" in folded and "mend a.three" in folded and "mend a.four" not in folded
    assert first.count("mend a.two") == 1 and f'explained by <a href="#causes">{SLOW}</a>' in first
