"""A fault is caught when exactly what it declared turned red; a miss, an extra and an unclear lab are told apart."""

from __future__ import annotations

import pytest

from meshlab.faults.fault import GROUPS, Fault
from meshlab.faults.verdict import catch_of, control, judge, told_of_it, unproven
from meshlab.run.results import Verdict

MUST, MAY, GREEN = "app.productpage", "envoy.scrape", "app.bookinfo"
FAULT = Fault("f", "It is broken", must=(MUST,), may=(MAY,), plant=lambda site: None, groups=("app",))


def checks(**verdicts: str) -> dict[str, dict]:
    """Every check of the group, green but for those named (dots and dashes as underscores)."""
    given = {check.replace(".", "_").replace("-", "_"): check for check in GROUPS["app"]}
    found = {check: {"verdict": "pass", "summary": "1 of 1"} for check in GROUPS["app"]}
    for name, verdict in verdicts.items():
        found[given[name]] = {"verdict": verdict, "summary": f"it was {verdict}"}
    return found


def verdict(left: tuple[str, ...] = (), **verdicts: str) -> tuple[Verdict, str]:
    result = judge(FAULT, checks(**verdicts), left, seconds=2.0)
    assert (result.id, result.title, result.seconds) == ("sabotage.f", "It is broken", 2.0)
    return result.verdict, result.summary


def test_a_fault_that_turned_its_checks_red_is_caught() -> None:
    assert verdict(app_productpage="fail") == (
        Verdict.PASS,
        "1 of 1 checks caught it: app.productpage; 3 checks stayed green",
    )
    found = verdict(app_productpage="broken", envoy_scrape="fail")
    assert found[0] is Verdict.PASS and "1 of 1" in found[1] and "envoy.scrape" in found[1]


@pytest.mark.parametrize("blind", ["pass", "infra-error", "skipped"])
def test_a_check_that_does_not_turn_red_is_a_miss_also_when_it_could_not_be_made(blind: str) -> None:
    found, summary = verdict(app_productpage=blind)
    assert found is Verdict.FAIL
    assert MUST in summary and blind in summary


def test_a_check_that_was_never_made_is_a_miss() -> None:
    result = judge(FAULT, {}, (), seconds=1)
    assert result.verdict is Verdict.FAIL
    assert result.evidence["missed"] == [MUST]
    assert result.evidence["not_made"] == [GREEN, "envoy.dashboard"]


def test_red_beside_what_was_declared_is_as_bad_as_a_miss() -> None:
    found, summary = verdict(app_productpage="fail", app_bookinfo="fail")
    assert found is Verdict.FAIL
    assert GREEN in summary and "fail" in summary


def test_what_stayed_unclear_is_no_catch() -> None:
    found, summary = verdict(app_productpage="fail", app_bookinfo="infra-error")
    assert found is Verdict.INFRA_ERROR and GREEN in summary
    assert (
        verdict(app_productpage="fail", envoy_scrape="infra-error")[0] is Verdict.PASS
    )  # it may be anything


def test_a_lab_that_is_not_as_it_was_is_no_catch() -> None:
    found, summary = verdict(("Service a/b is gone",), app_productpage="fail")
    assert found is Verdict.INFRA_ERROR and "Service a/b is gone" in summary
    catch = catch_of(FAULT, checks(app_productpage="fail"), restored=False)
    assert catch.as_json() == {
        "fault": "f", "must": [MUST], "may": [MAY], "red": [MUST], "restored": False,
    }  # fmt: skip


def test_the_evidence_holds_expected_and_observed_of_every_check() -> None:
    rows = judge(FAULT, checks(app_productpage="fail"), (), seconds=1).evidence["checks"]
    assert {(row["check"], row["expected"], row["verdict"]) for row in rows} == {
        (MUST, "red", "fail"),
        (MAY, "may be red", "pass"),
        (GREEN, "green", "pass"),
        ("envoy.dashboard", "green", "pass"),
    }


def test_a_round_without_a_fault_must_be_green() -> None:
    expected = GROUPS["app"]
    good = control("baseline", "Before", ["app"], checks(), expected, seconds=3.0)
    assert (good.verdict, good.summary) == (Verdict.PASS, "green without a fault: 4 checks of app")
    bad = control("baseline", "Before", ["app"], checks(app_bookinfo="fail"), expected, seconds=3.0)
    assert bad.verdict is Verdict.INFRA_ERROR
    assert "1 check" in bad.summary and GREEN in bad.summary
    both = control(
        "baseline", "Before", ["app"], checks(app_productpage="broken", app_bookinfo="fail"),
        ["app.productpage", "app.bookinfo"], seconds=3.0,
    )  # fmt: skip
    assert both.reason is not None and both.reason.startswith("app.bookinfo is fail")
    assert control("baseline", "Before", [], {}, [], seconds=0.0).verdict is Verdict.INFRA_ERROR
    assert control("control", "After", ["app"], {}, expected, seconds=0.0).verdict is Verdict.INFRA_ERROR


def test_a_fault_that_was_not_planted_says_why() -> None:
    assert unproven(FAULT, "no node").verdict is Verdict.INFRA_ERROR
    left_out = unproven(FAULT, "needs scope mesh", skipped=True)
    assert (left_out.verdict, left_out.asked_for) == (Verdict.SKIPPED, True)


@pytest.mark.parametrize(
    ("stage", "planted", "verdict"),
    [
        ("after", ["ConfigMap default/cert"], "fail"),
        ("after", ["default/cert"], "fail"),
        ("after", ["ConfigMap default/other"], "infra-error"),
        ("before", ["ConfigMap default/cert"], "infra-error"),
        ("after", [], "infra-error"),
    ],
)
def test_what_is_left_counts_where_it_is_what_was_planted(
    stage: str, planted: list[str], verdict: str
) -> None:
    rows = [{"stage": stage, "kind": "ConfigMap", "name": "default/cert"}]
    check = {"verdict": "fail", "summary": "1 left", "evidence": {"inventory": rows}}
    green = {"verdict": "pass", "summary": "0 left", "evidence": {}}
    found = told_of_it({"uninstall.nothing-left": check, "teardown.nothing-left": green}, planted)
    assert found["uninstall.nothing-left"]["verdict"] == verdict
    assert found["teardown.nothing-left"] == green


def test_what_the_removal_has_not_come_to_is_no_catch() -> None:
    rows = [{"stage": "after", "kind": "ConfigMap", "name": "default/cert"}]
    check = {"verdict": "fail", "summary": "1 left", "evidence": {"inventory": rows}}
    planted = ["ConfigMap default/cert"]
    [found] = told_of_it({"uninstall.nothing-left": check}, planted, planted).values()
    assert found["verdict"] == "infra-error" and planted[0] in found["summary"]
