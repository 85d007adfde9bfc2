"""The checks of the dashboards: what passes, what fails, and the numbers they tell."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from meshlab.checks.base import CATALOG
from meshlab.checks.grafana import TITLES, all_panels, classes, dashboard
from meshlab.observability.addons.query import RangeSamples
from meshlab.observability.dashboards.expected import Choice, Expectation, Precondition
from meshlab.observability.dashboards.model import Variable
from meshlab.observability.dashboards.prove import Proof
from meshlab.observability.dashboards.read import dashboard as read
from meshlab.observability.dashboards.results import Examination, Result
from meshlab.observability.dashboards.templating import Value
from meshlab.run.results import Verdict
from tests.fakes.dashboards import json_dashboard, json_panel

SERVICE = read(json_dashboard(json_panel(1, "a", "b"), json_panel(2, "c"), title="Istio Service Dashboard"))
OTHER = read(json_dashboard(json_panel(1, "z"), title="Other"))
PAGE, ECHO, NONE = Choice("productpage", {}), Choice("tcp-echo", {}), Choice("", {})
PROOF = Proof("no-tcp", "tcp", 0, "http", 3)
DATA = (RangeSamples({}, ((1, 2.0),)),)


def result(shipped, number: int, choice: Choice, kind="data", reason: str = "") -> Result:
    panel, target = list(shipped.targets())[number]
    lines = DATA if kind == "data" else ()
    proof = PROOF if kind == "expected-empty" else None
    return Result(shipped, panel, target, choice, kind, f"{target.expr} as asked", lines, reason, proof=proof)


def examination(*results: Result, **more) -> Examination:
    values = {
        ("Istio Service Dashboard", "productpage"): {
            "service": Value(Variable("service", "query"), ("page",))
        }
    }
    return Examination("Prometheus", (SERVICE, OTHER), results, values, seconds=2.04, **more)


GOOD = (
    result(SERVICE, 0, PAGE),
    result(SERVICE, 1, PAGE, "expected-empty", "nobody speaks TCP"),
    result(SERVICE, 1, ECHO),
    result(SERVICE, 2, PAGE),
    result(OTHER, 0, NONE),
)


def test_a_dashboard_under_its_own_choice():
    found = dashboard("grafana.service", examination(*GOOD))
    assert found.verdict is Verdict.PASS
    assert (
        found.summary
        == "2 of 3 queries with data, 1 expected-empty for productpage; asked through Prometheus"
    )
    assert found.evidence["variables"] == {"service": "page"}
    assert found.evidence["classes"] == {"data": 2, "expected-empty": 1, "unexpected-empty": 0, "error": 0}
    rows = found.evidence["targets"]
    assert [(row["panel"], row["ref"], row["class"], row["series"], row["reason"]) for row in rows] == [
        ("1 Panel 1", "A", "data", 1, ""),
        ("1 Panel 1", "B", "expected-empty", 0, "nobody speaks TCP"),
        ("2 Panel 2", "A", "data", 1, ""),
    ]
    assert [row["query"] for row in rows] == ["a as asked", "b as asked", "c as asked"]
    json.dumps(found.evidence)


@pytest.mark.parametrize("kind", ["unexpected-empty", "error"])
def test_one_bad_query_fails_its_dashboard_and_all(kind):
    looked = examination(
        *(replace(each, classification=kind, reason="why") if each is GOOD[3] else each for each in GOOD)
    )
    one, every = dashboard("grafana.service", looked), all_panels(looked)
    for found in (one, every):
        assert found.verdict is Verdict.FAIL
        assert "Panel 2 A (productpage)" in found.summary and kind in found.summary
        assert found.evidence["classes"][kind] == 1 and found.remedy


def test_a_dashboard_without_any_data_fails():
    found = dashboard("grafana.service", examination(GOOD[1]))
    assert found.verdict is Verdict.FAIL and found.evidence["classes"]["data"] == 0


def test_a_dashboard_that_is_not_shipped_could_not_be_looked_at():
    found = dashboard("grafana.mesh", examination(*GOOD))
    assert found.verdict is Verdict.INFRA_ERROR and "ships no Istio Mesh Dashboard" in found.summary


def test_all_panels_counts_each_query_once():
    found = all_panels(examination(*GOOD), least=4)
    assert found.verdict is Verdict.PASS
    assert (
        found.summary == "2 dashboards, 3 panels, 4 of 4 queries with data; asked through Prometheus in 2.0 s"
    )
    assert found.evidence["dashboards"] == [
        {"dashboard": "Istio Service Dashboard", "choice": "productpage", "queries": 3, "data": 2,
         "expected-empty": 1, "unexpected-empty": 0, "error": 0},
        {"dashboard": "Istio Service Dashboard", "choice": "tcp-echo", "queries": 1, "data": 1,
         "expected-empty": 0, "unexpected-empty": 0, "error": 0},
        {"dashboard": "Other", "choice": "", "queries": 1, "data": 1,
         "expected-empty": 0, "unexpected-empty": 0, "error": 0},
    ]  # fmt: skip
    assert found.evidence["proofs"] == [
        {"precondition": "no-tcp", "queries": 1, "holds": True, "absent": "tcp", "found": 0,
         "control": "http", "controls": 3}
    ]  # fmt: skip
    assert {row["query"] for row in found.evidence["targets"]} == {""}, "those with data are told elsewhere"


def test_too_few_with_data():
    found = all_panels(examination(*GOOD), least=5)
    assert found.verdict is Verdict.FAIL and "4" in found.summary and "5" in found.summary


def test_a_query_that_nobody_classified():
    found = all_panels(examination(*GOOD[:-1]))
    assert found.verdict is Verdict.FAIL and "1 of 4" in found.summary


def test_an_entry_that_names_nothing():
    stale = Expectation("Other", 9, "A", "000000000000", Precondition("no", "why", "x", "y"))
    looked = examination(*GOOD, stale=(stale,))
    found = all_panels(looked)
    assert found.verdict is Verdict.FAIL and "panel 9, A, 000000000000" in found.summary
    found = all_panels(looked, pinned=False)
    assert found.verdict is Verdict.PASS and len(found.evidence["stale"]) == 1


def test_what_went_wrong_goes_before_data():
    bad = replace(GOOD[2], classification="unexpected-empty", lines=())
    assert classes(examination(GOOD[0], GOOD[1], bad).best()) == {
        "data": 1,
        "expected-empty": 0,
        "unexpected-empty": 1,
        "error": 0,
    }


def test_the_checks_are_in_the_catalogue():
    assert {*TITLES, "grafana.all-panels"} <= set(CATALOG)
    assert {CATALOG[each].scope for each in TITLES} == {"observe"}
