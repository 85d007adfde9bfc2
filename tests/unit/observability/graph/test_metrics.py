"""The graph from metrics: only what rose since the phase began is an edge."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from meshlab.app.bookinfo import EDGES
from meshlab.checks.graph import expected_edges
from meshlab.core.errors import QueryError, WaitTimeout
from meshlab.observability.addons.query import Sample
from meshlab.observability.graph.metrics import (
    Baseline,
    await_scrapes,
    build_edges,
    increases,
    is_error,
    protocol_of,
    read_graph,
    take_baseline,
    wait_for_edges,
)
from meshlab.report.material import GraphNode
from tests.fakes.clock import FakeClock
from tests.fakes.prometheus import FakePrometheus

Growth = Callable[[float], float | None]
EXPECTED = expected_edges(EDGES, "default")


@dataclass
class FakeMeshPrometheus(FakePrometheus):
    """Knows the queries of the graph, too. dead: it refuses every question from that second on."""

    p95: float = 12.0
    dead: float | None = None

    def query(self, promql: str, at: float | None = None) -> list[Sample]:
        if self.dead is not None and self.clock.now() >= self.dead:
            raise QueryError("connection refused", remedy="look")
        moment = self.time if at is None else at
        if promql.startswith("avg(timestamp("):
            return [Sample({}, moment - moment % self.interval, moment)]
        if promql.startswith("histogram_quantile(0.95, sum by (le,reporter,"):
            assert re.search(r" offset \d+s\) or istio_request_duration_milliseconds_bucket\{", promql)
            labels = edge("sleep", "productpage-v1", "source")
            return [
                Sample(labels, self.p95, moment),
                Sample({**labels, "reporter": "x"}, float("nan"), moment),
            ]
        return super().query(promql, at)


def edge(source: str, target: str, reporter: str, **more: str) -> dict[str, str]:
    labels = {"reporter": reporter, "response_code": "200", "request_protocol": "http"}
    for side, name in (("source", source), ("destination", target)):
        app, _, version = name.partition("-")
        labels |= {
            f"{side}_workload": name,
            f"{side}_workload_namespace": "default",
            f"{side}_canonical_service": app,
            f"{side}_canonical_revision": version or "latest",
        }
    policy = "mutual_tls" if reporter == "destination" else "unknown"
    return {**labels, "connection_security_policy": policy, **more}


def mesh(
    growth: dict[tuple[str, str], Growth | float], *, start: float = 20.0, pods: Sequence[str] = ("p1",)
) -> FakeMeshPrometheus:
    fake = FakeMeshPrometheus(FakeClock(start))
    for pod in pods:
        fake.add(1, __name__="up", namespace="default", pod=pod)
    for (source, target), value in growth.items():
        for reporter in ("source", "destination"):
            fake.add(value, **edge(source, target, reporter))
    return fake


def steady(t: float) -> float:
    return float(int(t))


def test_only_what_rose_since_the_baseline_is_an_edge():
    fake = mesh({pair: steady for pair in EDGES} | {("productpage-v1", "gone-v1"): 70.0})
    baseline = take_baseline(fake, "default", clock=fake.clock)
    assert fake.clock.now() >= 25, "a scrape after it was called"
    graph = wait_for_edges(fake, baseline, EXPECTED, clock=fake.clock)
    assert set(graph.reporters()) == set(EXPECTED)
    assert all(who == {"source", "destination"} for who in graph.reporters().values())
    first = graph.edges[-1]
    assert (first.source.workload, first.target.workload) == ("sleep", "productpage-v1")
    assert first.requests == {"source": graph.seconds, "destination": graph.seconds}


def test_a_workload_that_came_after_the_baseline_counts_from_zero():
    fake = mesh({("sleep", "productpage-v1"): lambda t: 7.0 if t > 30 else None})
    baseline = take_baseline(fake, "default", clock=fake.clock)
    fake.clock.sleep(20)
    graph = read_graph(fake, baseline)
    assert [edge.count for edge in graph.edges] == [7.0]


def test_a_missing_edge_is_a_finding_after_the_deadline():
    fake = mesh({pair: steady for pair in EDGES[:-1]})
    baseline = take_baseline(fake, "default", clock=fake.clock)
    graph = wait_for_edges(fake, baseline, EXPECTED, timeout=12, clock=fake.clock)
    assert set(EXPECTED) - set(graph.reporters()) == {EXPECTED[-1]}


def test_a_prometheus_that_dies_is_no_finding():
    fake = mesh({pair: steady for pair in EDGES[:-1]})
    baseline = take_baseline(fake, "default", clock=fake.clock)
    fake.dead = fake.clock.now() + 8
    with pytest.raises(WaitTimeout, match="connection refused"):
        wait_for_edges(fake, baseline, EXPECTED, timeout=12, clock=fake.clock)


def test_pods_that_are_not_scraped_are_named():
    fake = mesh({}, pods=("p1",))
    fake.add(lambda t: 1.0 if t <= 20 else None, __name__="up", namespace="default", pod="late")
    with pytest.raises(WaitTimeout, match="not yet: late"):
        await_scrapes(fake, "default", timeout=20, clock=fake.clock)
    with pytest.raises(WaitTimeout, match="there is no target in it"):
        await_scrapes(fake, "empty", timeout=20, clock=fake.clock)


def test_increases_of_new_reset_and_still_series():
    def at(name: str, value: float) -> Sample:
        return Sample({"n": name}, value, 0.0)

    before = {(("n", name),): value for name, value in {"same": 5.0, "up": 5.0, "reset": 5.0}.items()}
    risen = increases([at("same", 5), at("up", 8), at("reset", 2), at("new", 1), at("zero", 0)], before)
    assert {each.labels["n"]: each.value for each in risen} == {"up": 3.0, "reset": 2.0, "new": 1.0}


def test_numbers_of_an_edge():
    risen = [
        Sample(edge("a-v1", "b-v1", "source"), 6.0, 0),
        Sample(edge("a-v1", "b-v1", "source", response_code="503"), 2.0, 0),
        Sample(edge("a-v1", "b-v1", "destination"), 6.0, 0),
        Sample(edge("a-v1", "b-v1", "destination", connection_security_policy="none"), 3.0, 0),
    ]
    keys = ("default", "a-v1"), ("default", "b-v1")
    (found,) = build_edges(risen, {("source", *keys): 7.5, ("destination", *keys): 1.0})
    assert found.source == GraphNode("a-v1", "a", "v1", "default")
    assert (found.told_by, found.count, found.errors, found.p95_ms) == ("source", 8.0, 2.0, 7.5)
    assert found.requests == {"source": 8.0, "destination": 9.0}
    assert found.mtls is None, "both kinds"


def test_a_caller_without_a_sidecar_is_told_of_by_the_other_side():
    labels = edge("x", "b-v1", "destination", connection_security_policy="none")
    unknown = {key: "unknown" for key in labels if key.startswith("source_")}
    (found,) = build_edges([Sample({**labels, **unknown}, 4.0, 0)], {})
    assert found.source == GraphNode("unknown", namespace="unknown")
    assert (found.told_by, found.count, found.mtls, found.p95_ms) == ("destination", 4.0, False, None)


def test_protocols_and_errors():
    tcp = {"__name__": "istio_tcp_connections_closed_total", "request_protocol": "tcp"}
    assert protocol_of(tcp) == "tcp" and not is_error({**tcp, "response_flags": "UF"})
    assert protocol_of({"request_protocol": "grpc"}) == "grpc"
    assert protocol_of({}) == "http"
    for code in ("400", "404", "500", "503", "0"):
        assert is_error({"response_code": code})
    for code in ("200", "302"):
        assert not is_error({"response_code": code})
    grpc = {"request_protocol": "grpc", "response_code": "200"}
    assert is_error({**grpc, "grpc_response_status": "14"})
    assert not is_error({**grpc, "grpc_response_status": "0"})


def test_the_drawn_graph_has_rates_percentages_and_padlocks():
    fake = mesh({("sleep", "productpage-v1"): lambda t: 2 * steady(t)})
    fake.add(steady, **edge("sleep", "productpage-v1", "source", response_code="500"))
    tcp = {"__name__": "istio_tcp_connections_closed_total", "request_protocol": "tcp"}
    fake.add(steady, **edge("sleep", "echo", "source", **tcp))
    baseline = take_baseline(fake, "default", clock=fake.clock)
    fake.clock.sleep(30)
    graph = read_graph(fake, baseline)
    drawn = graph.drawn("Load")
    assert (drawn.title, drawn.source) == ("Load", "Prometheus")
    assert drawn.nodes == (
        GraphNode("echo", "echo", "", "default"),
        GraphNode("productpage-v1", "productpage", "v1", "default"),
        GraphNode("sleep", "sleep", "", "default"),
    )
    by_protocol = {each.protocol: each for each in drawn.edges}
    http, tcp_edge = by_protocol["http"], by_protocol["tcp"]
    assert http.rate_rps == pytest.approx(3.0)
    assert http.error_percent == pytest.approx(100 / 3)
    assert (http.p95_ms, http.mtls) == (12.0, True)
    assert tcp_edge.rate_rps == pytest.approx(1.0)
    assert (tcp_edge.error_percent, tcp_edge.p95_ms, tcp_edge.mtls) == (None, None, None)


def test_an_empty_baseline_and_no_traffic():
    fake = mesh({})
    graph = read_graph(fake, Baseline("default", fake.time, fake.time, {}))
    assert graph.edges == () and graph.drawn().nodes == ()
