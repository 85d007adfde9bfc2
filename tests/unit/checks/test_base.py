import json

import pytest

from meshlab.checks import base
from meshlab.core.errors import (
    ExecError,
    IstioError,
    KubeError,
    MeshlabError,
    ProcessError,
    QueryError,
    WaitTimeout,
)
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock

ISSUE_1 = (
    "cluster.nodes-ready",
    "cluster.version",
    "istio.cli",
    "istio.control-plane",
    "istio.injection",
    "istio.versions",
    "istio.proxies-synced",
    "app.bookinfo",
    "app.productpage",
    "envoy.scrape",
    "prometheus.targets",
    "prometheus.requests-total",
    "prometheus.code-200",
    "prometheus.sleep-to-productpage",
    "prometheus.rate-5m",
    "prometheus.reconcile",
    "uninstall.nothing-left",
    "teardown.nothing-left",
)


def test_the_catalogue_holds_every_check_with_a_title() -> None:
    assert set(ISSUE_1) <= set(base.CATALOG)
    assert all(spec.title and spec.id == check_id for check_id, spec in base.CATALOG.items())


def test_a_check_is_timed_and_keeps_its_answer() -> None:
    clock = FakeClock()

    def check(nodes: int, *, wanted: int):
        clock.sleep(1.5)
        return base.passed("cluster.nodes-ready", f"{nodes} of {wanted} nodes", {"nodes": nodes})

    result = base.run_check("cluster.nodes-ready", check, 3, wanted=3, clock=clock)
    assert (result.verdict, result.summary, result.seconds) == (Verdict.PASS, "3 of 3 nodes", 1.5)
    assert result.title == base.CATALOG["cluster.nodes-ready"].title


def test_a_check_that_waits_is_given_the_clock_that_times_it() -> None:
    clock = FakeClock()

    def check(*, clock: FakeClock):
        clock.sleep(40)
        return base.passed("cluster.nodes-ready", "3 of 3")

    assert base.run_check("cluster.nodes-ready", check, clock=clock).seconds == 40


def test_an_error_of_ours_becomes_an_infra_error_with_its_remedy() -> None:
    def check():
        raise KubeError("the API server did not answer", remedy="is it up?")

    result = base.run_check("cluster.version", check)
    assert result.verdict is Verdict.INFRA_ERROR
    assert (result.reason, result.remedy) == ("the API server did not answer", "is it up?")
    assert "did not answer" in result.summary


@pytest.mark.parametrize(
    "problem",
    [
        MeshlabError("x"), KubeError("x"), ExecError("x"), IstioError("x"), ProcessError("x"), QueryError("x"),
        WaitTimeout("x", last="y", seconds=1),
    ],
)  # fmt: skip
def test_an_infra_error_always_has_a_remedy(problem: MeshlabError) -> None:
    def check():
        raise problem

    result = base.run_check("cluster.version", check).as_json()
    assert (result["verdict"], result["reason"]) == ("infra-error", problem.message)
    assert result["remedy"]


def test_a_defect_passes_through() -> None:
    def check():
        return {}["x"]

    with pytest.raises(KeyError):
        base.run_check("cluster.version", check)


def test_a_check_beyond_the_write_scope_is_skipped_without_a_call() -> None:
    def check():
        raise AssertionError("must not be called")

    result = base.run_check("uninstall.nothing-left", check, granted="namespace")
    assert result.verdict is Verdict.SKIPPED
    assert result.reason == "needs scope mesh"
    assert result.asked_for


def test_a_check_that_answers_for_another_is_a_defect() -> None:
    with pytest.raises(ValueError, match=r"answered for istio\.cli"):
        base.run_check("cluster.version", lambda: base.passed("istio.cli", "1"))


def test_an_unknown_id_is_a_defect() -> None:
    with pytest.raises(KeyError):
        base.run_check("cluster.mars", lambda: None)


def test_a_failure_names_its_first_problem_and_keeps_all() -> None:
    result = base.failed("istio.cli", ["a is missing", "b is wrong"], {"n": 1}, remedy="install it")
    assert result.summary == "a is missing (and 1 more)"
    assert result.reason == "a is missing; b is wrong"
    assert result.evidence == {"n": 1, "problems": ["a is missing", "b is wrong"]}
    with pytest.raises(ValueError, match="at least one problem"):
        base.failed("istio.cli", [])


def test_judged_keeps_the_observation_of_a_failure() -> None:
    assert base.judged("istio.cli", [], "1 of 1").verdict is Verdict.PASS
    result = base.judged("istio.cli", ["none"], "0 of 1", {"n": 0})
    assert result.verdict is Verdict.FAIL
    assert result.evidence["observed"] == "0 of 1"


def test_every_builder_makes_json() -> None:
    results = [
        base.passed("istio.cli", "1", {"rows": [{"a": 1}]}),
        base.failed("istio.cli", ["x"]),
        base.skipped("istio.cli", "no"),
        base.broken("istio.cli", "no"),
        base.infra_error("istio.cli", "no"),
    ]
    for result in results:
        assert json.loads(json.dumps(result.as_json()))["verdict"] == result.verdict
