"""jaeger.productpage-traces: one tree of spans reaches every service, and a missing branch is named."""

from __future__ import annotations

import json

import pytest

from meshlab.checks.base import run_check
from meshlab.checks.traces import TraceSearch, is_whole, productpage_traces, search_traces, tree_rows
from meshlab.observability.addons.jaeger_client import JaegerClient
from meshlab.report.material import Span, Trace
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.jaeger import T0, FakeJaeger, json_span, json_trace, page_trace, refusal


def search(*found: dict, timeout: float = 3, clock: FakeClock | None = None) -> TraceSearch:
    with FakeJaeger(found) as server:
        client = JaegerClient(server.url)
        return search_traces(client, "default", start=T0 - 1, timeout=timeout, clock=clock or FakeClock())


def test_a_trace_that_reaches_everything():
    clock = FakeClock()
    found = search(page_trace("one", reviews="v1"), page_trace("two", start=T0 + 1), clock=clock)
    result = productpage_traces(found)
    assert result.verdict is Verdict.PASS and clock.slept == []
    assert result.summary.startswith("2 traces; one of 8 spans and 30.0 ms")
    evidence = result.evidence
    assert evidence["reached"] == {
        "productpage → details": 2,
        "productpage → reviews": 2,
        "productpage → reviews → ratings": 1,
    }
    assert [(row["depth"], row["service"], row["kind"]) for row in evidence["tree"]] == [
        (0, "sleep.default", "client"),
        (1, "productpage.default", "server"),
        (2, "productpage.default", "client"),
        (3, "reviews.default", "server"),
        (4, "reviews.default", "client"),
        (5, "ratings.default", "server"),
        (2, "productpage.default", "client"),
        (3, "details.default", "server"),
    ]
    assert evidence["tree"][1]["parent"] == "sleep.default client"
    assert (evidence["tree"][1]["duration_ms"], evidence["tree"][1]["status"]) == (28.0, "200")
    assert [trace.trace_id for trace in found.shown] == ["two", "one"] and found.shown[0].note == ""
    json.dumps(result.as_json())


def test_a_whole_trace_is_better_than_a_newer_one_that_is_still_coming():
    clock = FakeClock()
    found = search(page_trace("new", without=["s"], start=T0 + 2), page_trace("whole"), clock=clock)
    assert found.best is not None and found.best.trace_id == "whole" and clock.slept == []
    clock = FakeClock()
    found = search(page_trace("new", without=["s"]), clock=clock)
    assert clock.now() == 3, "it is waited for"
    assert productpage_traces(found).verdict is Verdict.PASS


def test_spans_that_come_later():
    with FakeJaeger([page_trace(without=["rr", "a"])]) as server:

        def later(now: float) -> None:
            if now >= 2:
                server.traces = [page_trace()]

        clock = FakeClock(on_sleep=later)
        found = search_traces(JaegerClient(server.url), "default", start=T0 - 1, clock=clock)
    assert clock.now() == 2 and found.missing == ()


def test_a_service_that_sends_nothing():
    result = productpage_traces(search(page_trace(without=["pd", "d"])))
    assert result.verdict is Verdict.FAIL
    assert "details" in str(result.reason) and "1 traces" in str(result.reason)
    assert result.evidence["reached"]["productpage → details"] == 0


def test_an_application_that_does_not_pass_the_headers_on():
    lonely = json_trace([json_span("x", None, "ratings", trace_id="t9")])
    found = search(page_trace(without=["rr", "a"]), lonely)
    result = productpage_traces(found)
    assert result.verdict is Verdict.FAIL
    assert "reviews" in str(result.reason) and "headers" in str(result.reason)
    assert found.shown[0].note == "missing: productpage → reviews → ratings"


def test_branches_in_different_traces():
    found = search(page_trace("a", without=["pd", "d"]), page_trace("b", without=["rr", "a"]))
    result = productpage_traces(found)
    assert result.verdict is Verdict.FAIL
    assert {name: count > 0 for name, count in result.evidence["reached"].items()} == dict.fromkeys(
        ("productpage → details", "productpage → reviews", "productpage → reviews → ratings"), True
    )


def test_no_trace_at_all():
    found = search(json_trace([json_span("x", None, "sleep")]))
    result = productpage_traces(found)
    assert result.verdict is Verdict.FAIL and found.shown == ()
    assert "productpage.default" in str(result.reason) and "sleep.default" in str(result.reason)


@pytest.mark.parametrize("answers_first", [True, False])
def test_a_jaeger_that_does_not_answer_is_no_finding(answers_first: bool):
    with FakeJaeger([page_trace(without=["d"])]) as server:
        client = JaegerClient(server.url)
        client.services()

        def die(now: float) -> None:
            server.replies["/jaeger/api/traces"] = refusal(500, "badger is closed")

        if not answers_first:
            die(0)
        clock = FakeClock(on_sleep=die)
        result = run_check(
            "jaeger.productpage-traces",
            lambda: productpage_traces(search_traces(client, "default", start=T0, timeout=3, clock=clock)),
        )
    assert result.verdict is Verdict.INFRA_ERROR and "badger is closed" in str(result.reason)


def test_a_tree_with_a_circle_and_an_orphan_ends():
    spans = (
        Span("1", "2", "productpage.default", "op", 0, 1.0),
        Span("2", "1", "details.default", "op", 0, 1.0),
        Span("3", "gone", "productpage.default", "op", 5, 1.0),
    )
    trace = Trace("t", spans)
    assert not is_whole(trace)
    assert [row["service"] for row in tree_rows(trace)] == ["productpage.default"]
