"""A loopback HTTP server that answers like a Kubernetes API server: canned answers, 501 for what it was not told."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

CORE = {
    "kind": "APIResourceList",
    "groupVersion": "v1",
    "resources": [
        {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get", "list"]},
        {"name": "namespaces", "kind": "Namespace", "namespaced": False, "verbs": ["get", "list", "patch"]},
    ],
}
VERSION = {
    **{"gitVersion": "v1.36.1", "major": "1", "minor": "36", "gitCommit": "c", "gitTreeState": "clean"},
    **{
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "go1.26",
        "compiler": "gc",
        "platform": "linux/amd64",
    },
}
DISCOVERY = {
    ("GET", "/version"): (200, VERSION),
    ("GET", "/apis"): (200, {"kind": "APIGroupList", "groups": []}),
    ("GET", "/api/v1"): (200, CORE),
}


class FakeApiServer:
    """answers: (method, path without query) → (status, JSON). requests: (method, path and query, headers, body)."""

    def __init__(self, answers: Mapping[tuple[str, str], tuple[int, Any]], *, port: int = 0) -> None:
        self.answers = {**DISCOVERY, **answers}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            do_PATCH = do_DELETE = do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append((handler.command, handler.path, dict(handler.headers), body))
        path = handler.path.partition("?")[0].rstrip("/")
        status, answer = self.answers.get(
            (handler.command, path), (501, {"message": f"not told about {path}"})
        )
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig with the context "fake" that leads here."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [
                {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._server.server_address[1]}"}}
            ],
            "users": [{"name": "u", "user": {"token": "t0ken-4711"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def __enter__(self) -> FakeApiServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
