"""Zipkin's API gives the same traces, graph and errors as Jaeger's."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app.bookinfo import EDGES
from meshlab.checks.graph import expected_edges
from meshlab.checks.traces import productpage_traces, search_traces
from meshlab.core.errors import QueryError
from meshlab.observability.addons.jaeger_client import Dependency
from meshlab.observability.addons.zipkin_client import ZipkinClient
from meshlab.observability.graph.traces import read_graph
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.http_server import FakeHttpServer, Reply
from tests.fakes.jaeger import T0, page_trace

LINKS = [
    ("sleep", "productpage"),
    ("productpage", "details"),
    ("productpage", "reviews"),
    ("reviews", "ratings"),
]


def as_zipkin(trace: dict[str, Any], *, shared: bool) -> list[dict[str, Any]]:
    """A trace of Jaeger's as a proxy sends it to Zipkin. shared: both ends of a call have the client's id."""
    spans = {span["spanID"]: span for span in trace["spans"]}
    parents = {
        key: span["references"][0]["spanID"] if span["references"] else None for key, span in spans.items()
    }
    kinds = {
        key: next(t["value"] for t in span["tags"] if t["key"] == "span.kind") for key, span in spans.items()
    }
    joined = {key: parents[key] for key in spans if shared and kinds[key] == "server" and parents[key]}
    found = []
    for key, span in spans.items():
        parent = parents[joined[key]] if key in joined else parents[key]
        found.append(
            {
                "traceId": span["traceID"],
                "id": joined.get(key, key),
                "parentId": joined.get(parent, parent) if parent else None,
                "kind": kinds[key].upper(),
                "name": span["operationName"],
                "timestamp": span["startTime"],
                "duration": span["duration"],
                "localEndpoint": {"serviceName": span["processID"]},
                "tags": {tag["key"]: str(tag["value"]) for tag in span["tags"] if tag["key"] != "span.kind"},
                **({"shared": True} if key in joined else {}),
            }
        )
    return found


def zipkin(*traces: list[dict[str, Any]]) -> FakeHttpServer:
    names = sorted({span["localEndpoint"]["serviceName"] for trace in traces for span in trace})
    links = [{"parent": f"{a}.default", "child": f"{b}.default", "callCount": 3} for a, b in LINKS]
    return FakeHttpServer(
        {
            "/api/v2/services": Reply(names),
            "/api/v2/traces": lambda params: Reply(
                [
                    t
                    for t in traces
                    if params["serviceName"][0] in {s["localEndpoint"]["serviceName"] for s in t}
                ]
            ),
            "/api/v2/dependencies": Reply(links),
        }
    )


@pytest.mark.parametrize("shared", [False, True])
def test_the_checks_pass_on_zipkin_as_on_jaeger(shared: bool) -> None:
    pages = [as_zipkin(page_trace(f"t{n}", reviews=f"v{n}", start=T0 + n), shared=shared) for n in (1, 2, 3)]
    with zipkin(*pages) as server:
        client = ZipkinClient(server.url)
        check = productpage_traces(
            search_traces(client, "default", start=T0 - 1, timeout=1, clock=FakeClock())
        )
        graph = read_graph(client, "default", since=T0 - 1)
        assert client.dependencies()[0] == Dependency("productpage.default", "details.default", 3)
    assert check.verdict is Verdict.PASS, check.summary
    assert set(graph.calls) >= set(expected_edges(EDGES, "default"))
    assert {(s.key[1], t.key[1]) for s, t in ((c.source, c.target) for c in graph.calls.values())} == set(
        EDGES
    )
    ask = dict(server.asked)["/api/v2/traces"]
    assert int(ask["lookback"][0]) > 0 and set(ask) == {"serviceName", "endTs", "lookback", "limit"}


def test_what_is_no_zipkin_is_told() -> None:
    with FakeHttpServer(
        {"/api/v2/services": Reply({"not": 1}), "/api/v2/traces": Reply([[{"id": "1"}]])}
    ) as server:
        client = ZipkinClient(server.url)
        for ask in (lambda: client.traces("a"), client.dependencies):
            with pytest.raises(QueryError, match="Zipkin"):
                ask()
