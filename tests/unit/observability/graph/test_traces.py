"""The graph from traces: workload to workload, by the tags that Istio gives every proxy's span."""

from __future__ import annotations

import pytest

from meshlab.app.bookinfo import EDGES
from meshlab.checks.graph import expected_edges
from meshlab.core.errors import WaitTimeout
from meshlab.observability.addons.jaeger_client import JaegerClient
from meshlab.observability.graph.traces import (
    build_calls,
    node_of,
    read_graph,
    service_edges,
    wait_for_traced_edges,
)
from meshlab.report.material import GraphNode, Span, Trace
from tests.fakes.clock import FakeClock
from tests.fakes.jaeger import T0, FakeJaeger, json_span, json_trace, page_trace, refusal

EXPECTED = expected_edges(EDGES, "default")
LINKS = [
    ("sleep.default", "productpage.default", 3),
    ("productpage.default", "details.default", 3),
    ("productpage.default", "reviews.default", 3),
    ("reviews.default", "ratings.default", 2),
]
PAGES = [page_trace(f"t{n}", reviews=f"v{n}", start=T0 + n) for n in (1, 2, 3)]


def traces(*found: dict) -> tuple[Trace, ...]:
    """Jaeger's JSON as values, through the client."""
    with FakeJaeger(found) as server:
        client = JaegerClient(server.url)
        kept = {}
        for service in client.services():
            for trace in client.traces(service, start=T0 - 1, end=T0 + 60):
                kept[trace.trace_id] = trace
    return tuple(kept.values())


def test_bookinfos_graph():
    with FakeJaeger(PAGES, LINKS) as server:
        graph = wait_for_traced_edges(JaegerClient(server.url), "default", EXPECTED, since=T0)
    assert set(graph.calls) == set(EXPECTED)
    assert graph.traces == 3 and len(graph.dependencies) == 4
    call = graph.calls[EXPECTED[0]]
    assert call.durations == (30.0, 30.0, 30.0), "as the caller saw them"
    assert (call.source.workload, call.source.version) == ("sleep", "")
    drawn = graph.drawn()
    assert drawn.source == "Jaeger" and len(drawn.nodes) == 7 and len(drawn.edges) == 7
    assert {each.rate_rps for each in drawn.edges} == {None}
    assert {each.error_percent for each in drawn.edges} == {0.0}


def test_it_waits_for_spans_and_for_jaegers_own_count():
    with FakeJaeger(PAGES[:1]) as server:

        def later(now: float) -> None:
            if now >= 3:
                server.traces = list(PAGES)
            if now >= 6:
                server.links = list(LINKS)

        clock = FakeClock(on_sleep=later)
        graph = wait_for_traced_edges(JaegerClient(server.url), "default", EXPECTED, since=T0, clock=clock)
    assert clock.now() == 6 and len(graph.calls) == 7


def test_a_missing_edge_is_a_finding_and_a_dead_jaeger_is_none():
    with FakeJaeger(PAGES[:1], LINKS) as server:
        client = JaegerClient(server.url)
        graph = wait_for_traced_edges(client, "default", EXPECTED, since=T0, timeout=3, clock=FakeClock())
        assert len(graph.calls) == 3

        def die(now: float) -> None:
            server.replies["/jaeger/api/services"] = refusal(500, "badger is closed")

        with pytest.raises(WaitTimeout, match="badger is closed"):
            wait_for_traced_edges(
                client, "default", EXPECTED, since=T0, timeout=3, clock=FakeClock(on_sleep=die)
            )


def test_traces_before_the_phase_do_not_count():
    with FakeJaeger(PAGES, LINKS) as server:
        graph = read_graph(JaegerClient(server.url), "default", since=T0 + 1.5)
        assert graph.traces == 2
        asked = [params for path, params in server.asked if path.endswith("dependencies")]
    assert asked == [{"endTs": [str(int((T0 + 4) * 1e3))], "lookback": ["2500"]}]
    with FakeJaeger([], LINKS) as server:
        graph = read_graph(JaegerClient(server.url), "default", since=T0)
    assert graph.traces == 0 and graph.dependencies == ()


def test_spans_of_applications_stand_between_proxies():
    found = traces(
        json_trace(
            [
                json_span("p", None, "productpage"),
                json_span("app", "p", "handler", kind="internal", istio=False),
                json_span("c", "app", "productpage", kind="client", ms=4),
                json_span("d", "c", "details", status=500),
            ]
        )
    )
    (call,) = build_calls(found).values()
    assert (call.source.workload, call.target.workload) == ("productpage-v1", "details-v1")
    assert (call.durations, call.errors) == ((4.0,), 1)


def test_a_call_to_itself_is_an_edge():
    found = traces(
        json_trace([json_span("c", None, "details", kind="client"), json_span("d", "c", "details")])
    )
    ((source, target),) = build_calls(found)
    assert source == target == ("default", "details-v1")


def test_other_workloads_and_versions_are_named_by_their_tags():
    span = Span("1", None, "echo.x", "op", 0, 1.0, tags={"istio.canonical_service": "echo"})
    assert node_of(span) == GraphNode("echo", "echo", "", "")
    tags = {"istio.canonical_service": "echo", "istio.canonical_revision": "v9", "istio.namespace": "x"}
    assert node_of(Span("1", None, "echo.x", "op", 0, 1.0, tags=tags)) == GraphNode(
        "echo-v9", "echo", "v9", "x"
    )
    assert node_of(Span("1", None, "jaeger", "op", 0, 1.0)) is None


def test_spans_in_a_circle_end():
    circle = [
        Span("1", "2", "a.x", "op", 0, 1.0),
        Span("2", "1", "a.x", "op", 0, 1.0),
    ]
    assert build_calls([Trace("t", tuple(circle))]) == {}


def test_edges_between_services():
    a, a2, b = (
        GraphNode("a-v1", "a", "v1", "n"),
        GraphNode("a-v2", "a", "v2", "n"),
        GraphNode("b", namespace="n"),
    )
    assert service_edges([(a, a2), (a, b), (a2, b)]) == {("a.n", "b.n")}
