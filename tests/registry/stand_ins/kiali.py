#!/usr/bin/python3
"""Stands in for Kiali in its official image: status, and the workload graph from the Prometheus that Kiali asks by default.

Only the standard library: it runs in a small image. What it does not know gets a 404.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVICE = "prometheus.istio-system"  # Kiali's default, which Istio's addon leaves
LABELS = ("workload", "workload_namespace", "app", "version")
BY = ", ".join(
    [f"{end}_{label}" for end in ("source", "destination") for label in LABELS] + ["response_code"]
)


def series(metric: str, namespace: str, duration: str) -> list[dict[str, Any]]:
    chosen = [
        f'{metric}{{reporter="source",{end}_workload_namespace="{namespace}"}}[{duration}]'
        for end in ("source", "destination")
    ]
    query = " or ".join(f"sum by ({BY}) (rate({each}))" for each in chosen)
    words = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"http://{SERVICE}:9090/api/v1/query?{words}", timeout=20) as answer:
        return list(json.load(answer)["data"]["result"])


def graph(namespace: str, duration: str) -> dict[str, Any]:
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], dict[str, float]] = {}
    for each in series("istio_requests_total", namespace, duration):
        rate = float(each["value"][1])
        if rate > 0:
            ends = [_node(each["metric"], end, nodes) for end in ("source", "destination")]
            code = each["metric"].get("response_code", "0")
            counted = edges.setdefault((ends[0], ends[1]), {})
            counted[code] = counted.get(code, 0.0) + rate
    drawn = [_edge(source, target, counted) for (source, target), counted in edges.items()]
    return {"graphType": "workload", "elements": {"nodes": list(nodes.values()), "edges": drawn}}


def _node(labels: dict[str, str], end: str, nodes: dict[str, dict[str, Any]]) -> str:
    name, namespace, app, version = (labels.get(f"{end}_{label}", "unknown") for label in LABELS)
    key = f"{namespace}/{name}"
    nodes[key] = {
        "data": {"id": key, "workload": name, "namespace": namespace, "app": app, "version": version}
    }
    return key


def _edge(source: str, target: str, counted: dict[str, float]) -> dict[str, Any]:
    total = sum(counted.values())
    wrong = sum(rate for code, rate in counted.items() if code[:1] in "045")
    rates = {"http": f"{total:.2f}"} | ({"httpPercentErr": f"{100 * wrong / total:.1f}"} if wrong else {})
    traffic = {"protocol": "http", "rates": rates}
    return {"data": {"id": f"{source} {target}", "source": source, "target": target, "traffic": traffic}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        place = urllib.parse.urlsplit(self.path)
        asked = {key: values[0] for key, values in urllib.parse.parse_qs(place.query).items()}
        if place.path == "/kiali/healthz":
            self.reply({})
        elif place.path == "/kiali/api/status":
            self.reply({"status": {"Kiali version": "v2.27.0", "Kiali state": "running"}})
        elif place.path == "/kiali/api/namespaces/graph" and asked["graphType"] == "workload":
            self.reply(graph(asked["namespaces"], asked["duration"]))
        elif place.path == "/kiali/":
            self.reply("<!doctype html><html><title>Kiali</title><h1>Kiali's stand-in</h1></html>")
        else:
            self.reply({"error": "not known to this stand-in"}, 404)

    def reply(self, content: Any, status: int = 200) -> None:
        page = isinstance(content, str)
        data = (content if page else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 20001), Handler).serve_forever()
