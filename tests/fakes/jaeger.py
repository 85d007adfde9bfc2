"""Jaeger as its query API answers: spans in its own JSON, and a server that keeps some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tests.fakes.http_server import FakeHttpServer, Params, Reply

T0 = 1_700_000_000.0  # seconds since the epoch, when the traces of `page_trace` begin
PAGE = "<!doctype html><html><head><title>Jaeger UI</title></head></html>"


def json_span(
    span_id: str,
    parent: str | None,
    service: str,
    *,
    kind: str = "server",
    revision: str = "v1",
    trace_id: str = "t1",
    start: float = T0,
    ms: float = 1.0,
    status: int = 200,
    error: bool = False,
    namespace: str = "default",
    istio: bool = True,
) -> dict[str, Any]:
    """A span as a proxy sends it. service: without its namespace. start: seconds; ms: duration."""
    tags = [
        {"key": "span.kind", "type": "string", "value": kind},
        {"key": "http.status_code", "type": "string", "value": str(status)},
    ]
    if istio:
        tags += [
            {"key": "istio.canonical_service", "type": "string", "value": service},
            {"key": "istio.canonical_revision", "type": "string", "value": revision},
            {"key": "istio.namespace", "type": "string", "value": namespace},
        ]
    if error:
        tags.append({"key": "error", "type": "bool", "value": True})
    refs = [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent}] if parent else []
    return {
        "traceID": trace_id,
        "spanID": span_id,
        "operationName": f"{service}.{namespace}.svc.cluster.local:9080/*",
        "references": refs,
        "startTime": int(start * 1e6),
        "duration": int(ms * 1e3),
        "tags": tags,
        "logs": [],
        "processID": f"{service}.{namespace}",
        "warnings": None,
    }


def json_trace(spans: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A trace of spans, its processes named as their ids are."""
    names = {span["processID"] for span in spans}
    processes = {name: {"serviceName": name, "tags": []} for name in names}
    return {"traceID": spans[0]["traceID"], "spans": list(spans), "processes": processes, "warnings": None}


def page_trace(
    trace_id: str = "t1", *, reviews: str = "v2", without: Iterable[str] = (), start: float = T0
) -> dict[str, Any]:
    """One request for the product page. reviews: the version that answers. without: ids of spans left out.

    Ids: s (sleep calls), p (productpage), pd, d (details), pr, r (reviews), rr, a (ratings).
    """
    common: dict[str, Any] = {"trace_id": trace_id, "start": start}
    spans = [
        json_span("s", None, "sleep", kind="client", revision="latest", ms=30, **common),
        json_span("p", "s", "productpage", ms=28, **common),
        json_span("pd", "p", "productpage", kind="client", ms=3, **common),
        json_span("d", "pd", "details", ms=1, **common),
        json_span("pr", "p", "productpage", kind="client", ms=12, **common),
        json_span("r", "pr", "reviews", revision=reviews, ms=10, **common),
    ]
    if reviews != "v1":
        spans += [
            json_span("rr", "r", "reviews", revision=reviews, kind="client", ms=3, **common),
            json_span("a", "rr", "ratings", ms=1, **common),
        ]
    return json_trace([span for span in spans if span["spanID"] not in set(without)])


def answer(data: Any) -> dict[str, Any]:
    """The envelope of the query API."""
    return {"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None}


def refusal(status: int, message: str) -> Reply:
    """An error as the query API sends it: JSON as text, with a line feed."""
    body = {"data": None, "total": 0, "limit": 0, "offset": 0, "errors": [{"code": status, "msg": message}]}
    return Reply(body, status)


class FakeJaeger(FakeHttpServer):
    """A Jaeger with some traces, its API below /jaeger. Traces and links may be changed while it runs."""

    def __init__(
        self,
        traces: Sequence[dict[str, Any]] = (),
        links: Sequence[tuple[str, str, int]] = (),
        *,
        base: str = "/jaeger",
    ) -> None:
        self.traces, self.links = list(traces), list(links)
        super().__init__(
            {
                f"{base}/api/services": lambda _: Reply(answer(self._services() or None)),
                f"{base}/api/traces": self._find,
                f"{base}/api/dependencies": lambda _: Reply(
                    answer([{"parent": a, "child": b, "callCount": n} for a, b, n in self.links])
                ),
            }
        )

    def _services(self) -> list[str]:
        return sorted({span["processID"] for trace in self.traces for span in trace["spans"]}, reverse=True)

    def _find(self, params: Params) -> Reply:
        if "service" not in params:
            return refusal(400, "parameter 'service' is required")
        start, end, limit = (int(params[name][0]) for name in ("start", "end", "limit"))
        service = params["service"][0]
        found = [
            trace
            for trace in self.traces
            if any(
                span["processID"] == service and start <= span["startTime"] <= end for span in trace["spans"]
            )
        ]
        return Reply(answer(found[:limit]))
