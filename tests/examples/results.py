"""Made-up contents of `result.json`: a run in which every verdict occurs, and one that ended at once."""

from __future__ import annotations

from typing import Any

CRASHED: dict[str, Any] = {
    "schema": 1, "run_id": "20261123t180312z-1f3a", "flow": "full-lab", "verdict": "error",
    "started": "2026-11-23T18:03:12.000Z", "finished": "2026-11-23T18:03:12.004Z",
    "cluster": {"provider": None, "name": None, "nodes": 0}, "distribution": None, "images": {},
    "versions": {}, "steps": [], "checks": [], "measures": [], "catches": [],
}  # fmt: skip


def check(check_id: str, verdict: str, summary: str, **more: Any) -> dict[str, Any]:
    """One check's record."""
    reason = None if verdict == "pass" else f"{summary}: the cause"
    remedy = None if verdict in ("pass", "skipped") else "mend it"
    base = {
        "id": check_id,
        "title": f"{check_id} is proven",
        "verdict": verdict,
        "scope": "observe",
        "seconds": 0.4,
    }
    return {**base, "summary": summary, "evidence": {}, "reason": reason, "remedy": remedy, **more}


SERIES = [
    {
        "reporter": reporter,
        "source": "sleep",
        "destination": "productpage-v1",
        "response_code": "200",
        "value": 120.0,
    }
    for reporter in ("source", "destination")
]
FULL: dict[str, Any] = {
    **CRASHED,
    "verdict": "fail",
    "finished": "2026-11-23T18:05:29.500Z",
    "cluster": {"provider": "local", "name": "meshlab", "nodes": 3},
    "distribution": "embedded",
    "images": {
        "istiod": {"image": "localhost/meshlab/pilot:1.31.0", "ours": True},
        "sleep": {"image": "localhost/meshlab/curl:43a188c50e29", "ours": True},
        "prometheus": {"image": "prom/prometheus:v3.5.0", "ours": False},
    },
    "versions": {
        "kubernetes": "v1.36.1", "envoy": "1.40.0",
        "istio": {"client": "1.31.0", "control_plane": "1.31.0", "data_plane": {"1.31.0": 9}},
    },
    "steps": [
        {"name": "start-cluster", "state": "done", "seconds": 9.8, "attempts": 1, "reason": None},
        {"name": "deploy-kiali", "state": "skipped", "seconds": 0.0, "attempts": 0, "reason": "no image"},
        {"name": "deploy-jaeger", "state": "failed", "seconds": 60.0, "attempts": 2, "reason": "no pod"},
    ],
    "checks": [
        check("cluster.nodes-ready", "pass", "3 of 3 nodes Ready", evidence={
            "nodes": [{"name": f"node{n}", "ready": True, "labels": {"zone": "a"}} for n in range(3)]}),
        check("prometheus.rate-5m", "pass", "2 series, 0.551/s", evidence={
            "query": 'rate(istio_requests_total{destination_app="productpage"}[5m])', "series": SERIES}),
        check("prometheus.reconcile", "fail", "119 counted, 120 sent", remedy="repeat the window", evidence={
            "by_code": {"200": {"sent": 120, "source": 119}}, "problems": ["119 <of> 120"], "raw": "a\nb"}),
        check("jaeger.productpage-traces", "infra-error", "Jaeger did not answer in 30 s", remedy="again"),
        check("kiali.graph", "skipped", "Kiali's image can't be had"),
        check("mtls.refusal", "broken", "the control got no 200"),
    ],
    "measures": [
        {"name": name, "value": value, "unit": unit, "labels": {"loop": loop}}
        for loop, name, value, unit in (
            ("fast", "requests-sent", 1500, "requests"), ("fast", "requests-ok", 1499, "requests"),
            ("fast", "request-p99", 37.3, "ms"), ("gentle", "requests-sent", 120, "requests"),
            ("gentle", "requests-ok", 120, "requests"), ("gentle", "request-p99", 21.5, "ms"),
        )
    ],
    "catches": [
        {"fault": "permissive-left-on", "must": ["mtls.refusal"], "may": ["mtls.packets"],
         "red": ["mtls.refusal", "mtls.packets"], "restored": True},
        {"fault": "wrong-port", "must": ["app.productpage"], "may": [], "red": ["graph.edges"],
         "restored": False},
    ],
}  # fmt: skip
