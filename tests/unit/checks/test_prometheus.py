import json
from collections.abc import Callable

import pytest

from meshlab.app.bookinfo import EDGES
from meshlab.checks.base import run_check
from meshlab.checks.prometheus import (
    Mark,
    Sending,
    SentLog,
    code_200,
    judge_values,
    requests_total,
    sleep_to_productpage,
)
from meshlab.core.errors import QueryError
from meshlab.observability.addons.query import RangeSamples, Sample
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.prometheus import FakePrometheus

FIRST = EDGES[0]
LAST = EDGES[-2:]  # both versions of reviews that ask ratings
BOTH = ("source", "destination")


def labels(edge: tuple[str, str], reporter: str, **more: str) -> dict[str, str]:
    return {
        "reporter": reporter,
        "source_workload": edge[0],
        "source_workload_namespace": "default",
        "source_app": edge[0].split("-")[0],
        "destination_workload": edge[1],
        "destination_workload_namespace": "default",
        "destination_app": edge[1].split("-")[0],
        "response_code": "200",
        **more,
    }


class World:
    """sleep sends a request a second from second 0 on; every edge counts its share after half a second."""

    def __init__(self, *, without: tuple = (), factor: float = 1.0) -> None:
        self.clock = FakeClock(start=20.0)
        self.prometheus = FakePrometheus(self.clock)
        for edge in EDGES:
            share = {"reviews": 3, "ratings": 3}.get(edge[1].split("-")[0], 1)
            for reporter in ("source", "destination"):
                if (edge, reporter) not in without:
                    self.prometheus.add(self.count(share, factor), **labels(edge, reporter))

    @staticmethod
    def count(share: float, factor: float) -> Callable[[float], float | None]:
        # reviews: each version takes a third, rounded up so that the three together never fall short
        return lambda t: float(-(-int(max(t - 0.5, 0) * factor) // share))

    def sending(self, **baseline: float) -> Sending:
        return Sending(
            lambda: {"200": int(self.clock.now())}, {(who, "200"): n for who, n in baseline.items()}
        )


def test_every_edge_is_counted_by_both_reporters() -> None:
    world = World()
    result = requests_total(world.prometheus, "default", EDGES, world.sending(), clock=world.clock)
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary.startswith("14 series, 14 of 14 expected edges and reporters; sleep to productpage")
    assert world.clock.now() >= 30  # two scrapes after second 20
    assert result.summary.endswith("productpage-v1 29 requests at the last scrape, 29 to 31 sent by then")
    assert result.evidence["sent"][0] == {"at": 1_000_020.0, "ended": 20, "begun": 21, "pages": 20}
    assert set(result.evidence["series"][0]) >= {
        "reporter",
        "source",
        "destination",
        "response_code",
        "value",
    }
    json.dumps(result.as_json())


def test_a_missing_edge_is_explained_by_the_nearest_series() -> None:
    missing = (("reviews-v3", "ratings-v1"), "destination")
    world = World(without=(missing,))
    result = requests_total(
        world.prometheus, "default", EDGES, world.sending(), timeout=12, clock=world.clock
    )
    assert result.verdict is Verdict.FAIL
    assert result.summary.startswith("reviews-v3 → ratings-v1 (destination)") and "13" in result.summary
    assert 'source_workload="reviews-v3"' in result.summary and "reviews-v2" in result.summary
    assert "13 of 14" in result.evidence["observed"]


def test_a_series_that_is_no_longer_scraped_is_missing() -> None:
    world = World(without=((FIRST, "source"),))
    world.prometheus.add(lambda t: 10.0 if t < 15 else None, **labels(FIRST, "source"))
    result = requests_total(
        world.prometheus, "default", EDGES, world.sending(), timeout=12, clock=world.clock
    )
    assert result.verdict is Verdict.FAIL
    assert result.summary.startswith("sleep → productpage-v1 (source)")


def test_values_that_do_not_fit_the_traffic_fail() -> None:
    low = World(factor=0.5)
    result = requests_total(low.prometheus, "default", EDGES, low.sending(), clock=low.clock)
    assert "14 requests" in str(result.reason) and "29" in str(result.reason)
    high = World(factor=2.0)
    result = requests_total(high.prometheus, "default", EDGES, high.sending(), clock=high.clock)
    assert "59 requests" in str(result.reason) and "31" in str(result.reason)


def test_what_was_counted_before_is_taken_off() -> None:
    world = World()
    sending = Sending(
        lambda: {"200": int(world.clock.now()) - 10}, {("source", "200"): 10, ("destination", "200"): 10}
    )
    result = sleep_to_productpage(world.prometheus, "default", FIRST, sending, clock=world.clock)
    assert result.verdict is Verdict.PASS, result.reason
    assert "2 series, 2 of 2 expected" in result.summary


def test_replies_of_the_callers_own_proxy_are_in_no_edge() -> None:
    world = World()
    sending = Sending(
        lambda: {"200": int(world.clock.now()), "503": 50, "000": 1},
        {("source", "503"): 40.0, ("source", "0"): 3.0},
    )
    result = requests_total(world.prometheus, "default", EDGES, sending, clock=world.clock)
    assert result.verdict is Verdict.PASS, result.reason


def test_only_the_requests_with_200_are_held_against_code_200() -> None:
    world = World()
    world.prometheus.add(4.0, **labels(FIRST, "source", response_code="503"))
    sending = Sending(lambda: {"200": int(world.clock.now()), "503": 4, "000": 1}, {("source", "503"): 9.0})
    result = code_200(world.prometheus, "default", EDGES, sending, clock=world.clock)
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary.endswith("other codes: 503: 4")
    assert result.evidence["other_codes"] == {"503": 4.0}


NOTHING_BEFORE = {"source": 0.0, "destination": 0.0}


def sent_log(*marks: Mark) -> SentLog:
    """30 requests had ended before second 9, 31 had begun by second 12; the samples are of second 10."""
    world = World()
    known = list(marks) or [Mark(9.0, 30, 31, 30), Mark(12.0, 31, 31, 31)]
    return SentLog(world.prometheus, world.sending(), None, known)


def test_a_scrape_is_held_against_what_had_been_sent_by_its_time() -> None:
    log = sent_log(
        Mark(5.0, 10, 12, 9), Mark(9.995, 20, 22, 18), Mark(11.0, 24, 26, 20), Mark(12.5, 30, 33, 25)
    )
    assert (log.least(10.0), log.pages(10.0)) == (10, 9)  # the mark at 9.995 may lie after the true time
    assert log.most(10.0) == 33  # at 11 the sidecar may not have answered yet
    assert log.most(99.0) == 33
    assert log.least(1.0) == 0


def samples(**changes: float) -> list[Sample]:
    values = {"sleep": 30.0, "details": 30.0, "reviews": 10.0, "ratings": 10.0, **changes}
    found = []
    for edge in EDGES:
        app = edge[1].split("-")[0]
        value = values["sleep"] if app == "productpage" else values[app]
        found += [Sample(labels(edge, reporter), value, 10.0) for reporter in ("source", "destination")]
    return found


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, []),
        ({"details": 29.0}, ["productpage-v1 asked details 29 times for 30 pages"]),
        ({"reviews": 9.0}, ["productpage-v1 asked reviews 27 times for 30 pages"]),
        ({"ratings": 0.0}, [f"{e[0]} → ratings-v1 ({w}) counts no request" for e in LAST for w in BOTH]),
    ],
)  # fmt: skip
def test_values_are_judged_edge_by_edge(changes: dict, says: list[str]) -> None:
    found = judge_values(samples(**changes), "default", EDGES, sent_log(), NOTHING_BEFORE)
    assert found == says


def test_a_retry_may_raise_the_destination_only() -> None:
    found = [s for s in samples() if s.labels["source_workload"] != "sleep"]
    found += [Sample(labels(FIRST, "source"), 30.0, 10.0), Sample(labels(FIRST, "destination"), 33.0, 10.0)]
    assert judge_values(found, "default", EDGES, sent_log(), NOTHING_BEFORE) == []


def test_a_prometheus_that_went_away_is_told_with_what_to_do() -> None:
    class Leaving(FakePrometheus):
        def range_samples(
            self, selector: str, window_seconds: float, at: float | None = None
        ) -> list[RangeSamples]:
            raise QueryError("no pod of it is Ready", remedy="look at the addon's pod")

    world = World()
    gone = Leaving(world.clock)
    check = "prometheus.sleep-to-productpage"
    result = run_check(
        check, sleep_to_productpage, gone, "default", FIRST, world.sending(), timeout=9, clock=world.clock
    )
    assert result.verdict is Verdict.INFRA_ERROR
    assert result.reason and result.remedy == "look at the addon's pod"


@pytest.mark.parametrize(("kept", "lost"), [("source", "destination"), ("destination", "source")])
def test_a_prometheus_that_keeps_one_side_is_asked_for_that_side(kept: str, lost: str) -> None:
    world = World(without=tuple((edge, lost) for edge in EDGES))
    result = requests_total(
        world.prometheus, "default", EDGES, world.sending(), reporters=(kept,), clock=world.clock
    )
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary.startswith("7 series, 7 of 7 expected edges")
    broken = World(without=(*((edge, lost) for edge in EDGES), (FIRST, kept)))
    result = requests_total(
        broken.prometheus, "default", EDGES, broken.sending(), reporters=(kept,), clock=broken.clock
    )
    assert result.verdict is Verdict.FAIL
