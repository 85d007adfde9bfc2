"""A mesh under steady load, as Prometheus and Jaeger tell of it on loopback, and Istio's three dashboards in small."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import yaml

from meshlab.observability.dashboards.drawing import FIRST
from tests.fakes.dashboards import json_dashboard, json_panel, json_variable
from tests.fakes.http_server import FakeHttpServer, Params, Reply
from tests.fakes.jaeger import FakeJaeger, page_trace

RATE = 2.0  # requests per second on each edge
EDGES = (("sleep", "productpage-v1"), ("productpage-v1", "details-v1"), ("productpage-v1", "reviews-v2"))
PRODUCTPAGE = "productpage.default.svc.cluster.local"


class FakeMesh(FakeHttpServer):
    """Prometheus: counters that rise by RATE each second, and waves. Queries of another kind are refused with 400.

    began: seconds since the epoch when the traffic began.
    """

    def __init__(self, *, began: float | None = None) -> None:
        self.began = time.time() - 600 if began is None else began
        super().__init__(
            {
                "/api/v1/query": self._instant,
                "/api/v1/query_range": self._range,
                "/api/v1/label/service/values": Reply({"status": "success", "data": [PRODUCTPAGE]}),
                "/api/v1/label/workload/values": Reply({"status": "success", "data": ["reviews-v3"]}),
                "/api/v1/label/namespace/values": Reply({"status": "success", "data": ["default"]}),
            }
        )

    def _instant(self, params: Params) -> Reply:
        query, at = params["query"][0], float(params.get("time", [str(time.time())])[0])
        if query == "time()":
            return _success("scalar", [at, str(at)])
        if query.startswith("avg(timestamp(up"):
            return _vector(at, [({}, at - 1)])
        if query.startswith("istio_requests_total{") and "rate" not in query:
            count = max(0.0, at - self.began) * RATE
            return _vector(
                at, [(labels, count) for pair in EDGES for labels in _both_ends(*pair)] if count else []
            )
        if query.startswith("istio_tcp_connections_closed_total{"):
            return _vector(at, [])
        if query.startswith("histogram_quantile("):
            return _vector(at, [(labels, 12.5) for pair in EDGES for labels in _both_ends(*pair)])
        if query.startswith("sum(rate(istio_"):
            return _vector(at, [({}, RATE)])
        return Reply({"status": "error", "errorType": "bad_data", "error": f"unknown: {query}"}, 400)

    def _range(self, params: Params) -> Reply:
        if "istio_" not in params["query"][0]:
            return Reply({"status": "error", "errorType": "bad_data", "error": "unknown"}, 400)
        start, end, step = (_number(params[name][0]) for name in ("start", "end", "step"))
        times = [start + step * n for n in range(int((end - start) / step) + 1)]
        values = [[when, f"{RATE * (1.5 + math.sin(when / 40)):.4f}"] for when in times]
        return _success(
            "matrix", [{"metric": {"app": name}, "values": values} for name in ("details", "reviews")]
        )


def jaeger() -> FakeJaeger:
    """A Jaeger with two fresh traces of the product page."""
    now = time.time()
    traces = [page_trace("aaaa1111bbbb2222", start=now - 40), page_trace("cccc3333", start=now - 20)]
    return FakeJaeger(traces)


def samples(folder: Path, second: str = "sum(rate(istio_requests_total[1m]))") -> Path:
    """A samples folder whose Grafana addon holds the document's three dashboards, small. second: their second query."""
    chart = json_panel(1, "sum(rate(istio_requests_total{app=~'.*'}[1m])) by (app)", kind="timeseries")
    stat = json_panel(2, second, kind="stat", gridPos={"x": 0, "y": 8, "w": 6, "h": 4})
    picked = {
        FIRST[0]: [],
        FIRST[1]: [json_variable("service", "label_values(service)")],
        FIRST[2]: [
            json_variable("namespace", "label_values(namespace)"),
            json_variable("workload", "label_values(workload)"),
        ],
    }
    data = {
        f"{number}.json": json.dumps(json_dashboard(chart, stat, title=title, templating={"list": variables}))
        for number, (title, variables) in enumerate(picked.items())
    }
    (folder / "addons").mkdir(parents=True)
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "d"},
        "data": data,
    }
    (folder / "addons" / "grafana.yaml").write_text(yaml.safe_dump(document))
    return folder


def _both_ends(source: str, target: str) -> list[dict[str, str]]:
    common = {
        "__name__": "istio_requests_total", "source_workload": source, "destination_workload": target,
        "source_workload_namespace": "default", "destination_workload_namespace": "default",
        "source_canonical_service": source.rpartition("-v")[0] or source,
        "destination_canonical_service": target.rpartition("-v")[0] or target,
        "destination_canonical_revision": target.rpartition("-")[2], "source_canonical_revision": "v1",
        "request_protocol": "http", "response_code": "200", "connection_security_policy": "mutual_tls",
    }  # fmt: skip
    return [{**common, "reporter": reporter} for reporter in ("source", "destination")]


def _vector(at: float, series: list[tuple[dict[str, str], float]]) -> Reply:
    return _success("vector", [{"metric": labels, "value": [at, str(value)]} for labels, value in series])


def _success(kind: str, result: Any) -> Reply:
    return Reply({"status": "success", "data": {"resultType": kind, "result": result}})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(text.rstrip("s"))
