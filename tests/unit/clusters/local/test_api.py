from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.local import api as api_module
from meshlab.clusters.local import certificates
from meshlab.clusters.local.api import Api
from meshlab.clusters.local.layout import Layout
from meshlab.core.errors import ClusterError, KubeError

NODES: dict[str, Any] = {
    "items": [
        {"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        {
            "metadata": {"name": "b"},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "NotYet", "message": "no network"}
                ]
            },
        },
        {"metadata": {"name": "c"}},
    ]
}


class Server(BaseHTTPRequestHandler):
    """Answers from `answers`: path → (status, body); records what was sent."""

    answers: dict[str, list[tuple[int, str]]] = {}  # noqa: RUF012 (one server per test, set by it)
    sent: list[tuple[str, str, bytes]] = []  # noqa: RUF012

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.sent.append((self.command, self.path, body))
        queue = self.answers[self.path.partition("?")[0]]
        status, text = queue.pop(0) if len(queue) > 1 else queue[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_PATCH = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    # The network 127.0 puts the API server's address at 127.0.0.1.
    layout = Layout("unit", tmp_path / "unit", "127.0", 1)
    certificates.write_all(layout)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(layout.pki / "apiserver.crt", layout.pki / "apiserver.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(layout.ca)
    Server.answers, Server.sent = {}, []
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        monkeypatch.setattr(api_module, "API_PORT", server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Api(layout)
        server.shutdown()


def test_nodes_say_whether_they_are_ready_and_why_not(api: Api) -> None:
    Server.answers["/api/v1/nodes"] = [(200, json.dumps(NODES))]
    assert api.nodes() == {"a": "Ready", "b": "NotYet: no network", "c": "registered"}


@pytest.mark.parametrize(
    ("status", "retryable"), [(403, True), (500, True), (409, True), (422, False), (401, False)]
)
def test_refusals_tell_whether_they_may_heal(api: Api, status: int, retryable: bool) -> None:
    Server.answers["/x"] = [(status, "because")]
    with pytest.raises(KubeError, match="because") as caught:
        api.call("GET", "/x")
    assert caught.value.status == status and caught.value.retryable is retryable


def test_no_server_is_retryable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout("unit", tmp_path / "unit", "127.0", 1)
    certificates.write_all(layout)
    monkeypatch.setattr(api_module, "API_PORT", 9)
    with pytest.raises(KubeError, match="does not answer") as caught:
        Api(layout).nodes()
    assert caught.value.retryable


def test_first_objects_are_applied_as_soon_as_the_server_takes_them(api: Api) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/c"
    Server.answers = {path: [(403, "rbac"), (200, "{}")], "/api/v1/nodes/n": [(200, "{}")]}
    config = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "kube-system"}, "data": {"a": "1"}}
    node = {"kind": "Node", "metadata": {"name": "n"}}
    api.apply_first([config, node], timeout=10, stop=threading.Event())
    assert [(method, url.partition("?")[0]) for method, url, _ in Server.sent] == [
        ("PATCH", path),
        ("PATCH", path),
        ("PATCH", "/api/v1/nodes/n"),
    ]
    assert json.loads(Server.sent[1][2]) == config and "force=true" in Server.sent[1][1]


def test_applying_can_be_given_up(api: Api) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(ClusterError, match="given up"):
        api.apply_first([{"kind": "Node", "metadata": {"name": "n"}}], timeout=60, stop=stop)
    assert Server.sent == []
