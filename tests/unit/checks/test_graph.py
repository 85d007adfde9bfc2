"""graph.edges, graph.agreement and kiali.graph: lost and extra edges are named, and who did not see them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from meshlab.app.bookinfo import EDGES
from meshlab.checks.graph import Edge, agreement, edges, expected_edges, kiali_graph
from meshlab.observability.addons.jaeger_client import Dependency
from meshlab.observability.graph.metrics import EdgeCount, MetricGraph
from meshlab.observability.graph.traces import Calls, TraceGraph
from meshlab.report.material import GraphEdge, GraphNode, ServiceGraph
from meshlab.run.results import Verdict

EXPECTED = expected_edges(EDGES, "default")
INGRESS: Edge = (("istio-system", "istio-ingressgateway"), ("default", "productpage-v1"))
ECHO: Edge = (("default", "sleep"), ("default", "echo"))
BOTH = ("source", "destination")
SERVICES = [("sleep", "productpage"), ("productpage", "details"), ("productpage", "reviews")]
LINKS = [Dependency(f"{a}.default", f"{b}.default", 9) for a, b in [*SERVICES, ("reviews", "ratings")]]


def node(key: tuple[str, str]) -> GraphNode:
    app, _, version = key[1].partition("-")
    return GraphNode(key[1], app, version, key[0])


def counted(edge: Edge, *, by: Sequence[str] = BOTH, protocol: str = "http", errors: float = 0) -> EdgeCount:
    policies = {"mutual_tls": 10.0} if "destination" in by else {}
    requests = dict.fromkeys(by, 10.0)
    return EdgeCount(node(edge[0]), node(edge[1]), protocol, requests, errors, policies, p95_ms=5.5)


def metrics(*found: EdgeCount) -> MetricGraph:
    return MetricGraph("default", 1000.0, 20.0, tuple(found))


def traced(found: Iterable[Edge], links: Sequence[Dependency] = LINKS) -> TraceGraph:
    calls = {edge: Calls(node(edge[0]), node(edge[1]), (1.0, 2.0), 0) for edge in found}
    return TraceGraph("default", 1000.0, 12, calls, tuple(links))


def kialis(found: Iterable[Edge]) -> ServiceGraph:
    found = list(found)
    nodes = tuple(node(key) for key in sorted({key for edge in found for key in edge}))
    return ServiceGraph("Kiali", nodes, tuple(GraphEdge(a, b, rate_rps=1.0) for a, b in found), "Kiali")


WHOLE = metrics(*map(counted, EXPECTED))


# ── graph.edges


def test_exactly_the_applications_edges():
    result = edges(WHOLE, EXPECTED)
    assert result.verdict is Verdict.PASS
    assert result.summary == ("7 of 7 expected edges, 70 requests since the load phase began, 0 extra edges")
    row = result.evidence["edges"][0]
    assert row == {
        "from": "sleep",
        "to": "productpage-v1",
        "part": "expected",
        "protocol": "http",
        "counted_by_source": 10.0,
        "counted_by_destination": 10.0,
        "rate_rps": 0.5,
        "error_percent": 0.0,
        "p95_ms": 5.5,
        "mtls": True,
    }
    json.dumps(result.as_json())


def test_a_deleted_workloads_edges_are_named_as_lost():
    left = [counted(edge) for edge in EXPECTED if ("default", "reviews-v2") not in edge]
    result = edges(metrics(*left), EXPECTED)
    assert result.verdict is Verdict.FAIL
    assert result.evidence["lost"] == ["productpage-v1 → reviews-v2", "reviews-v2 → ratings-v1"]
    assert "productpage-v1 → reviews-v2" in str(result.reason)
    rows = result.evidence["edges"]
    assert [row["part"] for row in rows].count("lost") == 2
    assert {tuple(row) for row in rows} == {tuple(rows[0])}, "rows of a table have the same keys"


def test_an_extra_edge_is_named_and_the_runs_other_traffic_is_not():
    others = [counted(INGRESS), counted(ECHO, by=["source"], protocol="tcp")]
    graph = metrics(*WHOLE.edges, *others)
    result = edges(graph, EXPECTED, others=[INGRESS, ECHO])
    assert result.verdict is Verdict.PASS
    assert "0 extra" in result.summary and "2 edges" in result.summary
    result = edges(graph, EXPECTED, others=[ECHO])
    assert result.verdict is Verdict.FAIL
    assert result.evidence["extra"] == ["istio-system/istio-ingressgateway → productpage-v1"]
    unknown: Edge = (("unknown", "unknown"), ("default", "ratings-v1"))
    result = edges(metrics(*WHOLE.edges, counted(unknown, by=["destination"])), EXPECTED)
    assert result.evidence["extra"] == ["unknown → ratings-v1"]


def test_an_edge_that_only_one_side_counted():
    half = [counted(EXPECTED[0], by=["destination"]), *WHOLE.edges[1:]]
    result = edges(metrics(*half), EXPECTED)
    for kept, verdict in (("destination", Verdict.PASS), ("source", Verdict.FAIL)):
        assert edges(metrics(*half), EXPECTED, reporters=[kept]).verdict is verdict
    assert result.verdict is Verdict.FAIL and "sleep → productpage-v1" in str(result.reason)
    assert result.evidence["edges"][0]["counted_by_source"] != 10.0


def test_nothing_at_all():
    result = edges(metrics(), EXPECTED)
    assert result.verdict is Verdict.FAIL and len(result.evidence["lost"]) == 7
    assert edges(WHOLE, []).verdict is Verdict.FAIL


# ── graph.agreement


def test_all_sources_agree():
    result = agreement(WHOLE, traced(EXPECTED), kiali_reason="no image archive")
    assert result.verdict is Verdict.PASS, result.reason
    assert result.evidence["sources"] == {"Prometheus": 7, "Jaeger": 7, "Jaeger's dependencies": 4}
    assert "no image archive" in result.evidence["kiali"]
    assert result.evidence["edges"][0] == {
        "from": "productpage-v1",
        "to": "details-v1",
        "Prometheus": True,
        "Jaeger": True,
    }
    result = agreement(WHOLE, traced(EXPECTED), kiali=kialis(EXPECTED))
    assert result.verdict is Verdict.PASS and result.evidence["kiali"] == "compared"
    json.dumps(result.as_json())


def test_what_only_one_saw_is_named():
    result = agreement(WHOLE, traced(EXPECTED[:-1]))
    [row] = [row for row in result.evidence["edges"] if row["from"] == "reviews-v3"]
    assert (row["Prometheus"], row["Jaeger"]) == (True, False) and result.verdict is Verdict.FAIL
    result = agreement(metrics(*WHOLE.edges[1:]), traced(EXPECTED), kiali=kialis(EXPECTED))
    assert result.reason == "sleep → productpage-v1 was seen by Jaeger and Kiali, not by Prometheus"
    result = agreement(WHOLE, traced(EXPECTED), kiali=kialis(EXPECTED[1:]))
    assert result.verdict is Verdict.FAIL
    [row] = [row for row in result.evidence["edges"] if row["from"] == "sleep"]
    assert (row["Prometheus"], row["Jaeger"], row["Kiali"]) == (True, True, False)


def test_jaegers_own_dependencies_are_held_against_it():
    result = agreement(WHOLE, traced(EXPECTED, LINKS[1:]))
    assert result.verdict is Verdict.FAIL and "sleep.default → productpage.default" in str(result.reason)
    more = Dependency("details.default", "ratings.default", 1)
    other = Dependency("jaeger", "jaeger-collector", 1)
    result = agreement(WHOLE, traced(EXPECTED, [*LINKS, more, other]))
    assert result.verdict is Verdict.FAIL and "details.default → ratings.default" in str(result.reason)


def test_tcp_and_traffic_from_outside_are_not_compared():
    graph = metrics(*WHOLE.edges, counted(INGRESS), counted(ECHO, protocol="tcp"))
    result = agreement(graph, traced(EXPECTED))
    assert result.verdict is Verdict.PASS
    assert result.evidence["not_compared"] == {
        "Prometheus": ["istio-system/istio-ingressgateway → productpage-v1"]
    }


def test_agreeing_on_nothing_is_no_agreement():
    result = agreement(metrics(), traced([], []))
    assert result.verdict is Verdict.FAIL and "nothing was compared" in str(result.reason)


# ── kiali.graph


def test_kialis_graph():
    result = kiali_graph(kialis([*EXPECTED, INGRESS]), "v2.27.0", EXPECTED)
    assert result.verdict is Verdict.PASS
    assert result.summary == "Kiali v2.27.0 shows 8 workloads and 8 edges, 7 of 7 expected ones"
    assert result.evidence["beside"] == ["istio-system/istio-ingressgateway → productpage-v1"]
    result = kiali_graph(kialis(EXPECTED[1:]), "v2.27.0", EXPECTED)
    assert result.verdict is Verdict.FAIL and "sleep → productpage-v1" in str(result.reason)
    assert kiali_graph(kialis(EXPECTED), "v2.27.0", []).verdict is Verdict.FAIL
    json.dumps(replace(result).as_json())
