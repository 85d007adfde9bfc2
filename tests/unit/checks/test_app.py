import json

import pytest

from meshlab.app.latency import latency
from meshlab.app.once import RoundResult
from meshlab.checks.app import bookinfo, productpage
from meshlab.run.results import Verdict
from tests.unit.checks.pods import pod


def deployment(name: str, *, replicas: int = 1, ready: int = 1, observed: int = 2, message: str = "") -> dict:
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": message}] if message else []
    return {
        "metadata": {"name": name, "generation": 2},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{"name": "app", "image": f"x/{name}:1"}]}},
        },
        "status": {
            "observedGeneration": observed,
            "conditions": conditions,
            **({"readyReplicas": ready} if ready else {}),
        },
    }


def test_the_workloads_are_ready() -> None:
    found = [deployment("a"), deployment("b", replicas=2, ready=2)]
    result = bookinfo(["a", "b"], found, [pod("a-1"), pod("b-1")])
    assert result.verdict is Verdict.PASS
    assert result.summary == "2 of 2 workloads Ready (2 pods)"
    assert result.evidence["workloads"][0] == {
        "workload": "a",
        "ready": 1,
        "wanted": 1,
        "current": True,
        "images": "x/a:1",
    }


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([], "there is no deployment a"),
        ([deployment("a", replicas=0, ready=0)], "a is scaled to 0"),
        ([deployment("a", ready=0)], "a: 0 of 1 Ready; pod a-1 is ImagePullBackOff (1/2)"),
        ([deployment("a", replicas=2)], "a: 1 of 2 Ready"),
        ([deployment("a", observed=1)], "a: its latest change is not rolled out yet"),
    ],
)
def test_a_workload_that_is_not_ready_is_named(found: list, says: str) -> None:
    waiting = pod("a-1", labels={"app": "a"}, is_ready=False, ready="1/2", status="ImagePullBackOff")
    result = bookinfo(["a"], found, [waiting])
    assert result.verdict is Verdict.FAIL
    assert says in result.summary


def test_a_workload_without_pods_tells_its_own_condition() -> None:
    result = bookinfo(["a"], [deployment("a", ready=0, message="exceeded quota")], [])
    assert "a: 0 of 1 Ready; exceeded quota" in result.summary


def test_no_workload_expected_is_no_pass() -> None:
    assert bookinfo([], [], []).verdict is Verdict.FAIL


def round_(sent: int, passed: int, *, odd: str = "") -> RoundResult:
    return RoundResult(
        sent=sent,
        by_status={"200": passed, **({"503": sent - passed} if sent > passed else {})},
        matched=passed,
        passed=passed,
        exit_codes={},
        times=latency([12.0] * sent),
        odd=odd,
    )


def test_every_page_came() -> None:
    result = productpage(round_(5, 5))
    assert result.verdict is Verdict.PASS
    assert result.summary == "5 of 5 requests got a 200 with the title 'Simple Bookstore App', p50 12 ms"
    json.dumps(result.as_json())


def test_one_page_missing_is_a_failure_that_shows_it() -> None:
    result = productpage(round_(5, 4, odd="upstream connect error\nmore"))
    assert result.verdict is Verdict.FAIL
    assert "4 of 5" in result.summary
    assert "503: 1" in result.summary
    assert "upstream connect error" in result.summary


def test_no_request_is_no_answer() -> None:
    assert productpage(round_(0, 0)).verdict is Verdict.INFRA_ERROR


def test_pages_that_come_too_late_are_a_failure() -> None:
    assert productpage(round_(5, 5), p50_ms=12.0).verdict is Verdict.PASS
    result = productpage(round_(5, 5), p50_ms=11.9)
    assert result.verdict is Verdict.FAIL
    assert "12 ms" in result.summary
    assert result.evidence["p50_allowed_ms"] == 11.9
