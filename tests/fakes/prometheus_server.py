"""Prometheus, twice: as a client that knows a few series, and as an HTTP server that answers what it was told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class FakePrometheusClient:
    """Stands in for PrometheusClient where only series are looked up. Other methods are AttributeErrors."""

    def __init__(self, series: Sequence[Mapping[str, str]]) -> None:
        self._series = [dict(each) for each in series]

    def series(self, selector: str) -> list[dict[str, str]]:
        assert "{" not in selector, "only names are looked up"
        return [each for each in self._series if each["__name__"] == selector]

    def label_values(self, label: str) -> list[str]:
        return sorted({each[label] for each in self._series if label in each})


class FakePrometheusServer:
    """Answers GET requests on a free port of loopback. answers: path → (status, body); other paths get a 404.

    A body that is not text is sent as JSON; one that can be called is given the parameters first. asked: (path,
    parameters) of every request. A context manager.
    """

    def __init__(self, answers: Mapping[str, tuple[int, Any]]) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                server.asked.append((parts.path, parse_qs(parts.query)))
                status, body = answers.get(parts.path, (404, "not found"))
                body = body(parse_qs(parts.query)) if callable(body) else body
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FakePrometheusServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


def success(result: Any, **more: Any) -> tuple[int, Any]:
    """A good answer of the query API; more: warnings, infos."""
    return 200, {"status": "success", "data": result, **more}
