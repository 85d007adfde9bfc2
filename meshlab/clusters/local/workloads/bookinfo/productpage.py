"""The page that people see, its JSON API, and its own metrics."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from . import pages
from .backends import address, number
from .web import Fetch, Request, Response, forwarded, not_found, reply

TIMEOUT = 3.0  # seconds per call
# As upstream, which asks for the reviews twice for the sake of its fault-injection task.
ATTEMPTS = {"details": 1, "reviews": 2, "ratings": 1}
SORRY = "Sorry, product {} are currently unavailable for this book."
PRODUCTS = (
    {
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": '<a href="https://en.wikipedia.org/wiki/The_Comedy_of_Errors">'
        "Wikipedia Summary</a>: The Comedy of Errors is one of <b>William Shakespeare's</b> early plays. It "
        "is his shortest and one of his most farcical comedies, with a major part of the humour coming from "
        "slapstick and mistaken identity, in addition to puns and word play.",
    },
)


class Productpage:
    """Asks details, reviews and ratings, and counts their answers by status (500 where none came).

    FLOOD_FACTOR in `env`: how many more times a page asks for reviews (to show rate limiting).
    """

    def __init__(self, env: Mapping[str, str], fetch: Fetch) -> None:
        self._urls = {name: f"{address(env, name)}/{name}" for name in ATTEMPTS}
        self._fetch = fetch
        self._flood = int(env.get("FLOOD_FACTOR") or 0)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if request.method == "POST" and request.path == "/login":
            return self._login(request)
        match request.path:
            case "/" | "/index.html":
                return _page(pages.index(self._urls))
            case "/health":
                return _page("Product page is healthy")
            case "/logout":
                return _redirect(request, "session=; Path=/; Max-Age=0; HttpOnly")
            case "/productpage":
                return self._front(request)
            case "/metrics":
                return Response(200, self._metrics().encode(), "text/plain; version=0.0.4; charset=utf-8")
            case "/api/v1/products":
                return reply(PRODUCTS)
        return self._api(request)

    def _api(self, request: Request) -> Response:
        prefix = "/api/v1/products/"
        if not request.path.startswith(prefix):
            return not_found(request)
        product, _, part = request.path.removeprefix(prefix).partition("/")
        if number(f"/{product}", "/") is None or part not in ("", "reviews", "ratings"):
            return not_found(request)
        status, document = self._ask(part or "details", int(product), outgoing(request))
        return reply(document, status)

    def _front(self, request: Request) -> Response:
        headers = outgoing(request)
        details = self._ask("details", 0, headers)
        for _ in range(self._flood):
            self._ask("reviews", 0, headers)
        reviews = self._ask("reviews", 0, headers)
        return _page(pages.product(PRODUCTS[0], details, reviews, user(request)))

    def _ask(self, service: str, product: int, headers: Mapping[str, str]) -> tuple[int, Any]:
        status = 500
        for _ in range(ATTEMPTS[service]):
            try:
                status, document = self._fetch(f"{self._urls[service]}/{product}", headers, TIMEOUT)
            except (OSError, ValueError, http.client.HTTPException) as problem:
                print(f"{service} did not answer: {problem}", flush=True)
                status = 500
                continue
            if status == 200:
                self._count(service, 200)
                return 200, document
        self._count(service, status)
        return status, {"error": SORRY.format(service)}

    def _count(self, service: str, status: int) -> None:
        with self._lock:
            self._counts[service, status] += 1

    def _metrics(self) -> str:
        lines = ["# HELP request_result_total Results of requests", "# TYPE request_result_total counter"]
        with self._lock:
            for (service, status), count in sorted(self._counts.items()):
                labels = f'destination_app="{service}",response_code="{status}"'
                lines.append(f"request_result_total{{{labels}}} {count}")
        return "\n".join(lines) + "\n"

    def _login(self, request: Request) -> Response:
        name = parse_qs(request.body.decode(errors="replace")).get("username", [""])[-1]
        return _redirect(request, f"session={quote(name, safe='')}; Path=/; HttpOnly")


def user(request: Request) -> str:
    """Who signed in, or "". Like upstream's, the sign-in proves nothing: any name is taken."""
    for part in request.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "session":
            return unquote(value)
    return ""


def outgoing(request: Request) -> dict[str, str]:
    """The headers for the next service. `end-user` comes from the session alone, as upstream."""
    headers = forwarded(request.headers)
    headers.pop("end-user", None)
    if signed_in := user(request):
        headers["end-user"] = quote(signed_in, safe=" @")
    return headers


def _page(text: str) -> Response:
    return Response(200, text.encode(), "text/html; charset=utf-8")


def _redirect(request: Request, cookie: str) -> Response:
    target = request.headers.get("referer", "/productpage")
    return Response(302, b"", "text/html; charset=utf-8", {"Location": target, "Set-Cookie": cookie})
