"""Kiali as its API answers (v2.27): status, and the workload graph in the format of graph/config/common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.fakes.http_server import FakeHttpServer, Params, Reply

GRAPH, STATUS = "/kiali/api/namespaces/graph", "/kiali/api/status"


def json_node(workload: str, namespace: str = "default", **more: Any) -> dict[str, Any]:
    """A node. id: made of its name. more: fields beside those, which win."""
    app, _, version = workload.partition("-")
    return {
        "data": {
            "id": f"id-{namespace}-{workload}",
            "nodeType": "workload",
            "cluster": "Kubernetes",
            "namespace": namespace,
            "workload": workload,
            "app": app,
            "version": version or "latest",
            "healthData": None,
            **more,
        }
    }


def json_edge(source: str, target: str, namespace: str = "default", **more: Any) -> dict[str, Any]:
    """An edge as Kiali tells it: rates as text, what is 0 left out. more: fields beside those, which win."""
    return {
        "data": {
            "id": f"e-{source}-{target}",
            "source": f"id-{namespace}-{source}",
            "target": f"id-{namespace}-{target}",
            "isMTLS": "100",
            "responseTime": "12",
            "traffic": {
                "protocol": "http",
                "rates": {"http": "1.50", "httpPercentReq": "100.0"},
                "responses": {"200": {"flags": {"-": "100.0"}, "hosts": {"x": "100.0"}}},
            },
            **more,
        }
    }


def json_graph(nodes: Iterable[dict[str, Any]], edges: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A whole answer."""
    return {
        "timestamp": 1_700_000_000,
        "duration": 60,
        "graphType": "workload",
        "elements": {"nodes": list(nodes), "edges": list(edges)},
    }


class FakeKiali(FakeHttpServer):
    """A Kiali with a graph. A question that it does not understand gets a 400, as from the real one."""

    def __init__(self, graph: dict[str, Any] | None = None, *, version: str = "v2.27.0") -> None:
        self.graph = graph or json_graph([], [])
        status = {"Kiali state": "running", "Kiali version": version, "Kiali commit hash": "abc"}
        body = {"status": status, "externalServices": [], "warningMessages": []}
        super().__init__({STATUS: Reply(body), GRAPH: self._graph})

    def _graph(self, params: Params) -> Reply:
        given = {name: values[0] for name, values in params.items()}
        if "namespaces" not in given:
            return refusal(
                400, "At least one namespace must be specified via the namespaces query parameter."
            )
        if given["namespaces"] == "forbidden":
            return refusal(403, "Requested namespace [forbidden] is not accessible.")
        if given["graphType"] not in ("app", "service", "versionedApp", "workload"):
            return refusal(400, f"Invalid graphType [{given['graphType']}]")
        if not given["duration"].endswith("s") or not given["duration"][:-1].isdigit():
            return refusal(400, f"Invalid duration [{given['duration']}]")
        if not given["queryTime"].isdigit() or given["responseTime"] not in ("avg", "50", "95", "99"):
            return refusal(400, "Invalid queryTime or responseTime")
        known = {"deadNode", "responseTime", "securityPolicy"}
        if not set(given["appenders"].split(",")) <= known:
            return refusal(400, f"Invalid appender [{given['appenders']}]")
        return Reply(self.graph)


def refusal(status: int, message: str) -> Reply:
    """An error as Kiali sends it."""
    return Reply({"error": message, "detail": ""}, status)
