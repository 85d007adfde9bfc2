import json
from collections.abc import Mapping

import pytest

from meshlab.checks.reconcile import is_void, once_more, void_reasons
from meshlab.checks.reconcile import reconcile as judge
from meshlab.checks.snapshot import Count, Scraped, Snapshot
from meshlab.envoy.admin import Attempts
from meshlab.run.results import CheckResult, Verdict
from tests.unit.checks.traffic import traffic

PODS = {"sleep-1": "uid-a, 0 restarts", "productpage-1": "uid-b, 0 restarts"}


def snapshot(
    source: Mapping[str, float] = {},
    destination: Mapping[str, float] = {},
    attempts: int = 0,
    pods: Mapping[str, str] = PODS,
) -> Snapshot:
    counts = [Count("sleep-1", "source", code, f"s{code}", value) for code, value in source.items()]
    counts += [
        Count("productpage-1", "destination", code, f"d{code}", value) for code, value in destination.items()
    ]
    return Snapshot(
        taken=0.0,
        pods=pods,
        counts=tuple(counts),
        attempts=(Attempts("outbound|9080||productpage", "10.0.0.9:9080", attempts, attempts, 0),),
        family=("istio_requests_total",),
    )


def reconcile(
    before: Snapshot, after: Snapshot, sent: Mapping[str, int], scraped: Scraped | None = None
) -> CheckResult:
    return judge(before, after, [traffic(sent)], scraped)


BEFORE = snapshot({"200": 10}, {"200": 10}, attempts=10)
AFTER = snapshot({"200": 40}, {"200": 40}, attempts=40)


def test_counted_is_sent() -> None:
    result = reconcile(BEFORE, AFTER, {"200": 30})
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary == (
        "30 requests sent (200: 30), source counted 30; destination counted 30 of 30 attempts; "
        "Prometheus not asked"
    )
    (row,) = result.evidence["by_code"]
    assert (row["sent"], row["source"], row["destination"], row["source_raw_total"]) == (30, 30, 30, 40.0)
    json.dumps(result.as_json())


def test_a_series_born_in_the_window_counts_from_zero() -> None:
    assert reconcile(snapshot(), snapshot({"200": 7}, {"200": 7}, 7), {"200": 7}).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("after", "sent", "says"),
    [
        (snapshot({"200": 39}, {"200": 40}, 40), {"200": 30}, "source reporter counted 29"),
        (snapshot({"200": 40}, {"200": 39}, 40), {"200": 30}, "destination reporter counted 29"),
        (snapshot({"200": 40}, {"200": 40}, 41), {"200": 30}, "made 31 attempts"),
        (snapshot({"200": 40, "503": 1}, {"200": 40}, 40), {"200": 30}, "1 requests with code 503, 0 were"),
        (AFTER, {"200": 29, "404": 1}, "counted 0 requests with code 404, 1 were sent"),
        (AFTER, {"200": 31}, "counted 30 requests with code 200, 31 were sent"),
        (snapshot(), {"200": 30}, "void"),
    ],
)  # fmt: skip
def test_every_difference_is_named(after: Snapshot, sent: dict, says: str) -> None:
    result = reconcile(BEFORE, after, sent)
    assert result.verdict is not Verdict.PASS
    assert says in (result.reason or "")


def test_a_retry_is_counted_at_the_destination_only() -> None:
    # one attempt was answered 503 and retried: the source saw thirty 200s, the destination a 503 more
    after = snapshot({"200": 40}, {"200": 40, "503": 1}, attempts=41)
    result = reconcile(BEFORE, after, {"200": 30})
    assert result.verdict is Verdict.PASS, result.reason
    assert "31 of 31" in result.summary


def test_a_reply_of_the_clients_own_proxy_reaches_no_destination() -> None:
    after = snapshot({"200": 38, "503": 2}, {"200": 38}, attempts=38)
    assert reconcile(BEFORE, after, {"200": 28, "503": 2}).verdict is Verdict.PASS


def test_requests_without_a_response_are_accounted_for() -> None:
    after = snapshot({"200": 38, "0": 1}, {"200": 38, "0": 1}, attempts=39)
    result = reconcile(BEFORE, after, {"200": 28, "000": 2})
    assert result.verdict is Verdict.PASS, result.reason
    assert "2 without a response (1 of them" in result.summary
    result = reconcile(BEFORE, after, {"200": 28})
    assert result.verdict is Verdict.FAIL and "1 requests without a response" in str(result.reason)


def test_a_changed_pod_voids_the_window() -> None:
    after = snapshot({"200": 40}, {"200": 40}, 40, pods={**PODS, "productpage-1": "uid-b, 1 restarts"})
    result = reconcile(BEFORE, after, {"200": 30})
    assert result.verdict is Verdict.INFRA_ERROR
    assert is_void(result)
    assert "productpage-1" in str(result.reason)
    gone = snapshot(pods={"sleep-1": PODS["sleep-1"], "productpage-2": "uid-c, 0 restarts"})
    assert any("productpage-2" in reason for reason in void_reasons(BEFORE, gone))


def test_a_counter_that_falls_voids_the_window() -> None:
    after = snapshot({"200": 40}, {"200": 4}, attempts=40)
    result = reconcile(BEFORE, after, {"200": 30})
    assert is_void(result)
    assert "productpage-1" in str(result.reason) and "10 to 4" in str(result.reason)
    vanished = snapshot({"200": 40}, {}, attempts=40)
    assert "10 to 0" in void_reasons(BEFORE, vanished)[0]
    [reason] = void_reasons(BEFORE, snapshot({"200": 40}, {"200": 40}, attempts=3))
    assert "10.0.0.9:9080" in reason and "10 to 3" in reason


def test_no_traffic_is_no_answer() -> None:
    result = reconcile(BEFORE, BEFORE, {})
    assert result.verdict is Verdict.INFRA_ERROR
    assert not is_void(result)


def test_prometheus_must_have_what_the_sidecars_counted() -> None:
    right = Scraped({("source", "200"): 40.0, ("destination", "200"): 40.0})
    result = reconcile(BEFORE, AFTER, {"200": 30}, right)
    assert result.verdict is Verdict.PASS
    assert "2 totals" in result.summary
    for totals in ({("source", "200"): 40.0}, {("source", "200"): 39.0, ("destination", "200"): 40.0}):
        result = reconcile(BEFORE, AFTER, {"200": 30}, Scraped(totals))
        assert result.verdict is Verdict.FAIL
        assert "40" in result.summary
    more = Scraped({**right.totals, ("source", "503"): 1.0})
    result = reconcile(BEFORE, AFTER, {"200": 30}, more)
    assert result.verdict is Verdict.FAIL and "1 for reporter source, code 503" in result.summary


def test_a_prometheus_that_keeps_one_side_is_held_to_that_side() -> None:
    one = {("source", "200"): 40.0}
    kept = Scraped(one, reporters=("source",))
    assert reconcile(BEFORE, AFTER, {"200": 30}, kept).verdict is Verdict.PASS
    assert reconcile(BEFORE, AFTER, {"200": 30}, Scraped(one)).verdict is Verdict.FAIL
    less = Scraped({("source", "200"): 39.0}, reporters=("source",))
    assert reconcile(BEFORE, AFTER, {"200": 30}, less).verdict is Verdict.FAIL


def test_a_void_window_is_repeated_once_and_says_so() -> None:
    void = reconcile(BEFORE, AFTER, {"200": 30}, Scraped({}, falls=("a counter fell",)))
    right = reconcile(BEFORE, AFTER, {"200": 30})
    made: list[str] = []

    def again() -> CheckResult:
        made.append("again")
        return right

    assert once_more(right, again) is right and made == []
    second = once_more(void, again)
    assert (second.verdict, second.evidence["first_window"], made) == (
        Verdict.PASS,
        ["a counter fell"],
        ["again"],
    )
    assert is_void(once_more(void, lambda: void))  # twice void stays an infra-error


def test_several_loops_are_added_up_and_one_that_lost_count_makes_no_verdict() -> None:
    assert judge(BEFORE, AFTER, [traffic({"200": 12}), traffic({"200": 18})]).verdict is Verdict.PASS
    result = judge(BEFORE, AFTER, [traffic({"200": 30}, errors=("the stream broke",))])
    assert result.verdict is Verdict.INFRA_ERROR
    assert "the stream broke" in (result.reason or "")


def test_a_fall_that_only_prometheus_saw_voids_the_window() -> None:
    scraped = Scraped({}, falls=("a counter of productpage-1 fell from 30 to 15 in between",))
    result = reconcile(BEFORE, AFTER, {"200": 30}, scraped)
    assert is_void(result)
    assert "in between" in (result.reason or "")
