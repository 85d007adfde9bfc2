"""A small HTTP server on loopback: it answers GETs for the host names of loopback, and nothing else.

A page of somebody else that a browser has open may point its own name at 127.0.0.1 (DNS rebinding) and read what is
there as if it were its own. The Host header tells: it still holds that page's name.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from meshlab.core.address import host_port
from meshlab.core.errors import MeshlabError, Problem

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost")
IDLE = 60.0  # seconds that a connection may stay silent
# What holds for every answer, whatever its own policy is: no guessing of types, no frames, no reading by other sites.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # Else a browser's open connection would be answered after the end, and it could not tell that the program is gone.
    "Connection": "close",
}
PLAIN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Page:
    """What a path is answered with. policy: its content security policy."""

    body: bytes
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    policy: str = PLAIN_POLICY


Answering = Callable[[str], Page | None]  # path without its query, decoded → the page; None: there is none


class PageServer:
    """Serves pages on loopback from `open` to `close`.

    Args:
        answer: Gives the page of a path. It is called by several threads.
        port: The port; 0 takes a free one.
    """

    def __init__(self, answer: Answering, port: int = 0) -> None:
        self._answer, self._port = answer, port
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """The address of its first page, once it is open."""
        if self._http is None:
            raise RuntimeError("the server is not open")
        return f"http://{host_port(LOOPBACK, self._http.server_address[1])}/"

    def open(self) -> PageServer:
        """Listen. Raises MeshlabError where the port can't be had."""
        try:
            self._http = _Server((LOOPBACK, self._port), _handler(self._answer))
        except OSError as problem:
            raise MeshlabError(
                _why(self._port, problem), remedy="name another port: pages.port; 0 takes a free one"
            ) from problem
        serve = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="start page", daemon=True)
        serve.start()
        return self

    def close(self) -> None:
        """Stop listening. May be called twice."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Two programs may not share a port; one that was just closed is free at once.
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that left has no more interest in the answer."""


def problems(port: int) -> list[Problem]:
    """Find out whether the start page could be served at a port, by listening there for a moment.

    Returns:
        The problem; none where the port is free, or any is taken.
    """
    if not port:
        return []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen()
        except OSError as problem:
            remedy = "name another one, or 0 for any that is free"
            return [Problem(f"pages.port {port}", _why(port, problem), remedy)]
    return []


def is_loopback(host: str) -> bool:
    """Tell whether a Host header names loopback; its port is free, for a tunnel may lead here."""
    name, _, port = host.strip().lower().partition(":")
    return name in HOSTS and (not port or port.isdecimal())


def _why(port: int, problem: OSError) -> str:
    taken = problem.errno == errno.EADDRINUSE
    why = "another program listens there" if taken else problem.strerror or str(problem)
    return f"the start page can't have port {port} of {LOOPBACK}: {why}"


def _handler(answer: Answering) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE
        server_version, sys_version = "meshlab", ""
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(self._page(), body=True)

        def do_HEAD(self) -> None:
            self._send(self._page(), body=False)

        def _page(self) -> Page:
            hosts = self.headers.get_all("Host") or []
            if len(hosts) != 1 or not is_loopback(hosts[0]):
                told = f"This page answers at {' or '.join(HOSTS)} only: open it by that name.\n"
                return Page(told.encode(), "text/plain; charset=utf-8", 421)
            try:
                found = answer(unquote(urlsplit(self.path).path))
            except MeshlabError as problem:
                return Page(f"{problem}\n".encode(), "text/plain; charset=utf-8", 500)
            return found or Page(b"There is no such page.\n", "text/plain; charset=utf-8", 404)

        def _send(self, page: Page, *, body: bool) -> None:
            self.send_response(page.status)
            told = {"Content-Type": page.kind, "Content-Length": str(len(page.body))}
            for name, value in {**HEADERS, **told, "Content-Security-Policy": page.policy}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(page.body)

        def log_message(self, *args: Any) -> None:
            """Say nothing: the terminal shows the lab."""

    return Handler
