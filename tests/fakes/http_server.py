"""An HTTP server on loopback that answers what it was told to: promptly, never, or a byte at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Params = dict[str, list[str]]


@dataclass(frozen=True)
class Reply:
    """body: text as it is, else as JSON. way: whole, silent (nothing is sent), drip (without end)."""

    body: Any = ""
    status: int = 200
    way: str = "whole"


class FakeHttpServer:
    """Answers GETs, and POSTs of JSON.

    replies: path → Reply, or a function of the parameters that gives one; else a 404. A POST's path has
    "POST " before it, and its function is given the document.

    asked: (path, parameters or document) of every request, in order. A context manager; leaving it ends every
    answer.
    """

    def __init__(self, replies: Mapping[str, Reply | Callable[[Any], Reply]]) -> None:
        self.replies = dict(replies)
        self.asked: list[tuple[str, Any]] = []
        self._ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                params = parse_qs(parts.query)
                server.asked.append((parts.path, params))
                reply = server.replies.get(parts.path, Reply("404 page not found", 404))
                server._send(self, reply(params) if callable(reply) else reply)

            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = f"POST {self.path}"
                server.asked.append((path, document))
                reply = server.replies.get(path, Reply("404 page not found", 404))
                server._send(self, reply(document) if callable(reply) else reply)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [path for path, _ in self.asked]

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.way == "silent":
            self._ended.wait()
            return
        data = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        handler.send_header("Content-Length", str(len(data) if reply.way == "whole" else 10**6))
        handler.end_headers()
        handler.wfile.write(data)
        try:
            while reply.way == "drip" and not self._ended.wait(0.02):
                handler.wfile.write(b" ")
        except OSError:
            return  # the client has had enough

    def __enter__(self) -> FakeHttpServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
