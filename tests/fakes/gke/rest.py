"""The REST half of the emulated cloud: tokens, Compute Engine's lists, permissions; and the books themselves."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.gke.books import MACHINES, ZONES, Books, Fault, Status

Answer = tuple[int, dict[str, Any]]
COMPUTE = re.compile(r"^/compute/v1/projects/[^/]+/(?P<rest>.+)$")
PROJECT = re.compile(r"^/compute/v1/projects/[^/]+$")


def get(books: Books, path: str, query: dict[str, list[str]]) -> Answer:
    if path == "/books":
        return 200, {"left": books.left(), "calls": books.calls}
    if path == "/services":  # the inside of a cluster, for a client in another process
        return 200, {"services": books.services}
    if PROJECT.match(path):
        quotas = books.project_quotas.items()
        return 200, {
            "quotas": [{"metric": name, "limit": limit, "usage": used} for name, (limit, used) in quotas]
        }
    found = COMPUTE.match(path)
    return compute(books, found["rest"], query) if found else (404, error(404, f"no such path: {path}"))


def compute(books: Books, rest: str, query: dict[str, list[str]]) -> Answer:
    parts = rest.split("/")
    if parts[0] == "aggregated":
        items = list(books.table(parts[1]).values())
        start = int(query.get("pageToken", ["0"])[0])  # pages of two, so that paging is always exercised
        scope = {
            "regions/us-central1": {parts[1]: items[start : start + 2]},
            "regions/empty": {"warning": {}},
        }
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(items) else {}
        return 200, {"items": scope, **more}
    if rest == "global/firewalls":
        return 200, {"items": list(books.table("firewalls").values())}
    if rest.startswith("global/networks/"):
        return (
            (200, {"name": parts[-1], **books.networks[parts[-1]]})
            if parts[-1] in books.networks
            else (404, error(404, f"no network {parts[-1]}"))
        )
    if rest == "zones":
        return 200, {"items": [{"name": zone, "status": "UP"} for zone in ZONES]}
    if parts[0] == "regions" and len(parts) == 2:
        quotas = [
            {"metric": name, "limit": limit, "usage": used} for name, (limit, used) in books.quotas.items()
        ]
        known = parts[1] in {zone.rpartition("-")[0] for zone in ZONES}
        return (
            (200, {"name": parts[1], "quotas": quotas})
            if known
            else (404, error(404, f"no region {parts[1]}"))
        )
    if parts[0] == "zones" and parts[2] == "machineTypes":
        cpus = MACHINES.get(parts[3])
        return (
            (200, {"name": parts[3], "guestCpus": cpus})
            if cpus
            else (404, error(404, f"no machine {parts[3]}"))
        )
    return 404, error(404, f"no such path: {rest}")


def post(books: Books, path: str, body: bytes) -> Answer:
    if path == "/token":
        token, seconds = books.backend.token()
        return 200, {"access_token": token, "expires_in": seconds, "token_type": "Bearer"}
    if path.endswith(":testIamPermissions"):
        asked = json.loads(body)["permissions"]
        return 200, {"permissions": [each for each in asked if each not in books.denied]}
    if path == "/services":
        told = json.loads(body)
        if told["wanted"]:
            books.services[told["uid"]] = {
                **told,
                "address": books.balance(told["path"], told["uid"], told["name"]),
            }
        elif books.services.pop(told["uid"], None):
            books.unbalance(told["uid"])
        return 200, {}
    if path == "/faults":  # errors on demand, for an emulator in a process of its own
        told = json.loads(body)
        books.faults.append(Fault(**{**told, "code": Status[told["code"]] if told.get("code") else None}))
        return 200, {}
    return 404, error(404, f"no such path: {path}")


def log(books: Books, call: str) -> None:
    """Write down a call of Google's REST APIs; what belongs to the emulator alone is not one."""
    if call.startswith(("GET /compute/", "POST /v1/")):
        books.log.append(call.replace(" /", " "))


def error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@contextmanager
def serving(books: Books, port: int = 0) -> Iterator[int]:
    """The REST side on the loopback while the block runs; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            if split.path not in ("/books", "/services") and self.headers.get("Authorization") is None:
                self._answer(401, error(401, "Request is missing required authentication credential."))
                return
            log(books, f"GET {split.path}")
            refused = books_fault(books, split.path)
            with books.lock:
                self._answer(*(refused or get(books, split.path, parse_qs(split.query))))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            log(books, f"POST {self.path}")
            self._answer(*(books_fault(books, self.path) or post(books, self.path, body)))

        def _answer(self, code: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


HTTP = {
    Status.UNAVAILABLE: 503,
    Status.PERMISSION_DENIED: 403,
    Status.UNAUTHENTICATED: 401,
    Status.RESOURCE_EXHAUSTED: 429,
}


def books_fault(books: Books, path: str) -> Answer | None:
    """The error that the next call of a path ends with; the path's last word names it (`forwardingRules`, `token`)."""
    for fault in books.faults:
        if fault.times > 0 and path.rstrip("/").endswith(fault.method):
            fault.times -= 1
            code = HTTP[fault.code or Status.UNAVAILABLE]
            if path == "/token":  # RFC 6749, 5.2
                return code, {"error": "invalid_grant", "error_description": fault.message}
            return code, error(code, fault.message)
    return None
