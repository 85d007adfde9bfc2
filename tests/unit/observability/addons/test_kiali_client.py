"""A contract: what Kiali's API answers becomes the graph's values, or a QueryError."""

from __future__ import annotations

import pytest

from meshlab.core.errors import QueryError
from meshlab.observability.addons.kiali_client import KialiClient
from meshlab.report.material import GraphEdge, GraphNode
from tests.fakes.http_server import Reply
from tests.fakes.kiali import GRAPH, STATUS, FakeKiali, json_edge, json_graph, json_node, refusal

T0 = 1_700_000_000.9


def test_the_question():
    with FakeKiali() as server:
        client = KialiClient(server.url)
        graph = client.graph("default", seconds=59.2, at=T0)
        assert (client.version(), client.page) == ("v2.27.0", f"{server.url}/kiali/")
        assert server.paths() == [STATUS, GRAPH], "the version is asked for once"
        asked = {name: values[0] for name, values in server.asked[1][1].items()}
    assert asked == {
        "namespaces": "default",
        "graphType": "workload",
        "duration": "60s",
        "queryTime": "1700000000",
        "appenders": "deadNode,responseTime,securityPolicy",
        "responseTime": "95",
        "includeIdleEdges": "false",
        "injectServiceNodes": "false",
    }
    assert (graph.nodes, graph.edges, graph.source) == ((), (), "Kiali")


def test_nodes_edges_and_their_numbers():
    nodes = [
        json_node("sleep"),
        json_node("reviews-v1"),
        json_node("frame", isBox="app", nodeType="box"),
        json_node("", nodeType="service", service="away", app="", version="", id="id-default-away"),
        json_node("unknown", "unknown", app="unknown", version="unknown", nodeType="unknown"),
    ]
    errors = {"http": "2.00", "http5xx": "1.00", "httpPercentErr": "50.0"}
    edges = [
        json_edge("sleep", "reviews-v1"),
        json_edge("sleep", "away", traffic={"protocol": "http", "rates": errors}, isMTLS="50"),
        json_edge("reviews-v1", "sleep", traffic={"protocol": "tcp", "rates": {"tcp": "9.00"}}, isMTLS="0"),
        json_edge("sleep", "sleep", traffic={"protocol": "grpc", "rates": {"grpc": "3.00"}}, responseTime=""),
    ]
    with FakeKiali(json_graph(nodes, edges)) as server:
        graph = KialiClient(server.url).graph("default", seconds=60)
    assert graph.nodes == (
        GraphNode("away", "", "", "default"),
        GraphNode("reviews-v1", "reviews", "v1", "default"),
        GraphNode("sleep", "sleep", "", "default"),
        GraphNode("unknown", "", "", "unknown"),
    )
    away, reviews, sleep = (("default", name) for name in ("away", "reviews-v1", "sleep"))
    assert set(graph.edges) == {
        GraphEdge(sleep, reviews, "http", rate_rps=1.5, error_percent=0.0, p95_ms=12.0, mtls=True),
        GraphEdge(sleep, away, "http", rate_rps=2.0, error_percent=50.0, p95_ms=12.0, mtls=None),
        GraphEdge(reviews, sleep, "tcp", rate_rps=None, error_percent=None, p95_ms=12.0, mtls=False),
        GraphEdge(sleep, sleep, "grpc", rate_rps=3.0, error_percent=0.0, p95_ms=None, mtls=True),
    }


@pytest.mark.parametrize("version", ["v1.89.0", "v3.0.0", ""])
def test_a_version_that_is_not_read_here(version: str):
    with FakeKiali(version=version) as server, pytest.raises(QueryError) as caught:
        KialiClient(server.url).graph("default", seconds=60)
    assert "this adapter reads v2" in caught.value.message and not caught.value.retryable
    assert server.paths() == [STATUS]


def test_an_older_name_of_the_version():
    with FakeKiali() as server:
        server.replies[STATUS] = Reply({"status": {"Kiali core version": "v2.1.0"}})
        assert KialiClient(server.url).version() == "v2.1.0"


@pytest.mark.parametrize(
    ("reply", "words", "retryable"),
    [
        (refusal(403, "namespace is not accessible"), "403: namespace is not accessible", False),
        (refusal(500, "Prometheus is not reachable"), "500: Prometheus is not reachable", True),
        (refusal(503, "caches are not synced"), "503: caches are not synced", True),
        (Reply({"graphType": "workload"}), "none of Kiali's", False),
        (Reply(json_graph([], [json_edge("a", "b")])), "none of Kiali's", False),
        (Reply({**json_graph([], []), "graphType": "app"}), "graph of type app", False),
        (Reply("<html>log in</html>"), "no JSON", True),
        (Reply(way="silent"), "timed out", True),
        (Reply('{"elements":', way="drip"), "did not end", True),
    ],
)
def test_answers_that_are_none(reply: Reply, words: str, retryable: bool):
    with FakeKiali() as server:
        server.replies[GRAPH] = reply
        with pytest.raises(QueryError) as caught:
            KialiClient(server.url, timeout=5 if reply.way == "whole" else 1.5).graph("default", seconds=60)
    assert words in caught.value.message and caught.value.remedy
    assert caught.value.retryable is retryable


def test_a_namespace_that_kiali_may_not_show():
    with FakeKiali() as server, pytest.raises(QueryError, match="not accessible") as caught:
        KialiClient(server.url).graph("forbidden", seconds=1)
    assert not caught.value.retryable
