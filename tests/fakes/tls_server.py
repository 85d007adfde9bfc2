"""A server that wants to know who asks: over TLS or not, with a client's certificate or not. It answers as Prometheus."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from meshlab.clusters.local.certificates import Authority, KeyPair
from meshlab.security.gateways.pki import load

ANSWER = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]},
}


class ClosedServer:
    """Answers GETs below `prefix` whose Authorization is `wants`, else 401. A context manager.

    keys: serves HTTPS with them. clients: only a client with a certificate of this authority is let in.
    """

    def __init__(
        self,
        *,
        wants: str = "",
        prefix: str = "",
        keys: KeyPair | None = None,
        clients: Authority | None = None,
    ) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                let_in = self.headers.get("Authorization", "") == wants
                here = self.path.startswith(f"{prefix}/api/")
                body = json.dumps(ANSWER) if let_in and here else "no"
                self.send_response(401 if not let_in else 200 if here else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if keys is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            load(context, keys)
            if clients is not None:
                context.load_verify_locations(cadata=clients.certificate.decode())
                context.verify_mode = ssl.CERT_REQUIRED
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"http{'s' if keys else ''}://127.0.0.1:{self._http.server_address[1]}{prefix}"

    def __enter__(self) -> ClosedServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
