#!/usr/bin/python3
"""Stands in for Grafana in its official image: health, the datasource that Istio's addon gives it, and queries through it.

What the page computes itself (step, $__rate_interval) is computed here as Grafana does. Only the standard library: it runs
in a small image. What it does not know gets a 404.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROVISIONED = Path("/etc/grafana/provisioning/datasources/datasources.yaml")
UID, SCRAPE = "stand-in", 15.0  # seconds
VALUES = re.compile(rf"/api/datasources/uid/{UID}/resources(/api/v1/label/[^/]+/values)")


def prometheus() -> str:
    """The address that Istio's addon gives."""
    return re.findall(r"url:\s*(http://prometheus\S+)", PROVISIONED.read_text())[0].rstrip("/")


def ask(path: str, params: dict[str, Any]) -> Any:
    data = urllib.parse.urlencode(params, doseq=True).encode()
    with urllib.request.urlopen(f"{prometheus()}{path}?{data.decode()}", timeout=20) as answer:
        return json.load(answer)


def frames(result: list[dict[str, Any]], instant: bool) -> list[dict[str, Any]]:
    found = []
    for series in result:
        points = [series["value"]] if instant else series["values"]
        odd: dict[str, list[int]] = {}
        values: list[float | None] = []
        for number, (_, text) in enumerate(points):
            name = {"NaN": "NaN", "+Inf": "Inf", "-Inf": "NegInf"}.get(text)
            if name:
                odd.setdefault(name, []).append(number)
            values.append(None if name else float(text))
        fields = [
            {"name": "Time", "type": "time"},
            {"name": "Value", "type": "number", "labels": series["metric"]},
        ]
        data: dict[str, Any] = {"values": [[when * 1000 for when, _ in points], values]}
        if odd:
            data["entities"] = [None, odd]
        found.append({"schema": {"fields": fields}, "data": data})
    return found


def execute(asked: dict[str, Any], start: float, end: float) -> list[dict[str, Any]]:
    step = max(asked.get("intervalMs", 15_000) / 1000, SCRAPE)
    words = {"__rate_interval": f"{max(step + SCRAPE, 4 * SCRAPE):.0f}s", "__interval": f"{step:.0f}s"}
    words |= {"__range": f"{end - start:.0f}s", "__interval_ms": f"{step * 1000:.0f}"}
    query = re.sub(r"\$\{?(__[a-z_]+)\}?", lambda found: words.get(found[1], found[0]), asked["expr"])
    if asked["instant"]:
        answer = ask("/api/v1/query", {"query": query, "time": end})
    else:
        answer = ask("/api/v1/query_range", {"query": query, "start": start, "end": end, "step": step})
    result = answer["data"]["result"]
    if answer["data"]["resultType"] == "scalar":  # a moment and a number, of no series
        result = [{"metric": {}, "value": result, "values": [result]}]
    return frames(result, asked["instant"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        place = urllib.parse.urlsplit(self.path)
        if place.path == "/api/health":
            self.reply({"database": "ok", "version": "12.0.1", "commit": "stand-in"})
        elif place.path == "/api/datasources":
            told = {"uid": UID, "name": "Prometheus", "type": "prometheus", "isDefault": True}
            self.reply([{**told, "url": prometheus()}])
        elif found := VALUES.fullmatch(place.path):
            self.reply(ask(found[1], urllib.parse.parse_qs(place.query)))
        elif place.path == "/":
            self.reply("<!doctype html><html><title>Grafana</title><h1>Grafana's stand-in</h1></html>")
        else:
            self.reply({"message": "not known to this stand-in"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/api/ds/query":
            self.reply({"message": "not known to this stand-in"}, 404)
            return
        [asked] = body["queries"]
        try:
            found = execute(asked, float(body["from"]) / 1000, float(body["to"]) / 1000)
        except urllib.error.HTTPError as problem:
            told = {"error": problem.read().decode(), "status": problem.code}
            self.reply({"results": {asked["refId"]: told}}, problem.code)
            return
        self.reply({"results": {asked["refId"]: {"status": 200, "frames": found}}})

    def reply(self, content: Any, status: int = 200) -> None:
        page = isinstance(content, str)
        data = (content if page else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 3000), Handler).serve_forever()
