"""The three checks of an upgrade: a pass, and each way to fail."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.app.budget import Budget, Spent
from meshlab.checks import upgrade
from meshlab.checks.upgrade import Ended, Proxy, Side
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock

OLD, NEW = Side("default", "1.30.0-dev"), Side("1-31-0-dev", "1.31.0-dev")
FOUND = {"Deployment": ("istio-system/istiod",), "sidecar": ()}
NOTHING: dict[str, tuple[str, ...]] = {"Deployment": (), "sidecar": ()}


def proxies(*sides: Side) -> list[Proxy]:
    return [Proxy(f"default/pod-{n}", side.revision, side.version) for n, side in enumerate(sides)]


def sent(requests: int, failed: int = 0, in_a_row: int = 0, gap_ms: float | None = 120.0) -> Spent:
    return Spent(requests, failed, in_a_row, gap_ms, {"200": requests - failed, "503": failed})


def judge_versions(found: Sequence[Proxy], *, before=FOUND, after=NOTHING):
    return upgrade.versions(OLD, NEW, found, Ended(before, lambda: after), clock=FakeClock())


def judge_rollback(found: Sequence[Proxy], *, before=FOUND, after=NOTHING):
    ended = Ended(before, lambda: after)
    return upgrade.rollback(OLD, NEW, "istiod", ["default moved back"], found, ended, clock=FakeClock())


def test_traffic_within_the_budget_passes_with_its_numbers() -> None:
    check = upgrade.traffic(sent(3000, 3, 1), Budget())
    assert check.verdict is Verdict.PASS
    assert (check.evidence["requests"], check.evidence["failed"]) == (3000, 3)
    assert check.evidence["longest_gap_ms"] == 120.0


def test_traffic_fails_by_share_by_row_and_without_a_request() -> None:
    for spent in (sent(3000, 4, 1), sent(9000, 4, 4), sent(900, 1, 1), sent(0, gap_ms=None)):
        assert upgrade.traffic(spent, Budget()).verdict is Verdict.FAIL


def test_counts_that_may_be_wrong_prove_nothing() -> None:
    assert upgrade.traffic(sent(3000), Budget(), ["a line was lost"]).verdict is Verdict.INFRA_ERROR
    assert upgrade.traffic(sent(3000, 9, 5), Budget(), ["a line was lost"]).verdict is Verdict.FAIL


def test_every_proxy_is_new_and_the_old_revision_is_gone() -> None:
    check = judge_versions(proxies(NEW, NEW))
    assert check.verdict is Verdict.PASS
    assert check.evidence["old_before"] == {"Deployment": 1} and check.evidence["old_left"] == {}
    assert [row["version"] for row in check.evidence["proxies"]] == ["1.31.0-dev", "1.31.0-dev"]


def test_a_proxy_of_another_version_or_revision_fails() -> None:
    for odd in (OLD, Side(NEW.revision, OLD.version), Side(OLD.revision, NEW.version), Side("", "")):
        assert judge_versions(proxies(NEW, odd)).verdict is Verdict.FAIL
    assert judge_versions([]).verdict is Verdict.FAIL


def test_what_is_left_of_the_old_revision_fails_and_an_empty_inventory_before_is_no_control() -> None:
    check = judge_versions(proxies(NEW), after=FOUND)
    assert check.verdict is Verdict.FAIL and check.evidence["old_left"] == {"Deployment": 1}
    assert judge_versions(proxies(NEW), before=NOTHING).verdict is Verdict.BROKEN


def test_what_comes_back_between_two_looks_is_left() -> None:
    looks = iter([NOTHING, NOTHING, *[FOUND] * 1000])
    ended = Ended(FOUND, lambda: next(looks))
    assert upgrade.versions(OLD, NEW, proxies(NEW), ended, clock=FakeClock()).verdict is Verdict.FAIL


def test_a_roll_back_is_proven_by_the_proxies_and_by_what_is_left_of_the_new_revision() -> None:
    check = judge_rollback(proxies(OLD, OLD))
    assert check.verdict is Verdict.PASS and check.evidence["cause"] == "istiod"
    assert judge_rollback(proxies(OLD, NEW)).verdict is Verdict.FAIL
    assert judge_rollback(proxies(OLD), after=FOUND).verdict is Verdict.FAIL


def test_nothing_to_roll_back_is_skipped() -> None:
    for check in (upgrade.not_needed(), judge_rollback(proxies(OLD), before=NOTHING)):
        assert check.verdict is Verdict.SKIPPED and check.asked_for


def test_an_upgrade_that_did_not_happen_fails_with_its_cause() -> None:
    check = upgrade.not_upgraded(OLD, NEW, "istiod never got Ready", proxies(OLD))
    assert check.verdict is Verdict.FAIL and "istiod never got Ready" in (check.reason or "")
    assert upgrade.rollback_failed("x", "the API server is gone", "wait").verdict is Verdict.FAIL
