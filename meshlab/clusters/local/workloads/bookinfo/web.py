"""HTTP for the services: a threaded HTTP/1.1 server with keep-alive, and a client that forwards headers."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

# What a service hands on to the services it calls: the trace contexts that Istio supports (Envoy joins its
# spans by them), and what belongs to the user's session.
FORWARDED = (
    "x-request-id",
    "x-ot-span-context",
    "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority",
    "traceparent", "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
    "sw8",
    "end-user", "user-agent", "cookie", "authorization", "jwt",
)  # fmt: skip
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What came in: header names in lower case, the query's last value per name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """What goes out."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Headers = field(default_factory=dict)


Service = Callable[[Request], Response]
Fetch = Callable[[str, Headers, float], tuple[int, Any]]


def reply(document: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(status, json.dumps(document).encode())


def not_found(request: Request) -> Response:
    """The answer for a path that the service does not have."""
    return reply({"error": f"no such path: {request.path}"}, 404)


def forwarded(headers: Headers) -> dict[str, str]:
    """Those of the headers that the next service must see."""
    return {name: headers[name] for name in FORWARDED if name in headers}


def fetch(url: str, headers: Headers, timeout: float) -> tuple[int, Any]:
    """GET `url` and return the status and, with status 200, the JSON document. timeout: seconds.

    A connection per request, as upstream: so that a load balancer in between is seen at work.
    Raises OSError, http.client.HTTPException, or ValueError when the document is no JSON.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else None
    finally:
        connection.close()


class Server(ThreadingHTTPServer):
    """Serves one service on every address, IPv4 and IPv6 where the machine has it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, service: Service, host: str = "::") -> None:
        self.service = service
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind the port for IPv4 and IPv6, without asking the DNS for this machine's name."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: that one asks the DNS for the machine's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Turns bytes into a `Request` and the service's `Response` into bytes."""

    protocol_version = "HTTP/1.1"
    server_version = "bookinfo"
    disable_nagle_algorithm = True
    wbufsize = -1  # one write per answer
    timeout = 300  # seconds that an idle connection is kept
    server: Server

    def _serve(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            self.send_error(411)  # closes the connection: nobody here sends chunks
            return
        length = self.headers.get("Content-Length") or "0"
        if not length.isdigit():
            self.send_error(400)
            return
        body = self.rfile.read(int(length))
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.service(Request(self.command, url.path, query, headers, body))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """One line per request on stdout; probes are left out."""
        if self.path != "/health":
            print(f"{self.log_date_time_string()} {format % args}", flush=True)


def serve(port: int, service: Service) -> None:
    """Serve until SIGTERM or SIGINT, then end at once with status 0."""

    def leave(signum: int, frame: Any) -> None:
        raise SystemExit(0)

    # As process 1 of a container there is no default action: without a handler SIGTERM would be ignored.
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    try:
        server = Server(port, service)
    except OSError:  # a kernel without IPv6
        server = Server(port, service, host="0.0.0.0")
    with server:
        print(f"listening on port {port}", flush=True)
        server.serve_forever(poll_interval=5)
