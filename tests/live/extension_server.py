"""An extension API server of one resource, for Kubernetes' aggregation layer: it says who asks, as the API server tells it.

python3 extension_server.py CERTIFICATE KEY CLIENT_AUTHORITY
"""

from __future__ import annotations

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

GROUP, VERSION, PORT = "lab.meshlab.test", "v1", 8443
ROOT = f"/apis/{GROUP}/{VERSION}"
RESOURCE = {
    "name": "callers",
    "singularName": "caller",
    "namespaced": False,
    "kind": "Caller",
    "verbs": ["get"],
}


class Handler(BaseHTTPRequestHandler):
    """Answers discovery, and `callers/me`."""

    def do_GET(self) -> None:
        """Answer one request of the API server."""
        content: dict[str, Any]
        if self.path.partition("?")[0] == ROOT:
            content = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/{VERSION}",
                "resources": [RESOURCE],
            }
        elif self.path.partition("?")[0] == f"{ROOT}/callers/me":
            subject = cast(ssl.SSLSocket, self.connection).getpeercert() or {}
            content = {
                "kind": "Caller",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": {"name": "me"},
                "user": self.headers.get("X-Remote-User"),
                "groups": self.headers.get_all("X-Remote-Group"),
                "proxy": dict(pair for names in subject.get("subject", ()) for pair in names),
            }
        else:
            self.send_error(404)
            return
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main(certificate: str, key: str, authority: str) -> None:
    """Serve until the process is ended; only who has a certificate of `authority` is heard."""
    server = ThreadingHTTPServer(("", PORT), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
