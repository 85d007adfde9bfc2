"""The three services behind the page: details, ratings and reviews."""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from .web import Fetch, Request, Response, Service, forwarded, not_found, reply

REVIEWS = (
    ("Reviewer1", "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!"),
    (
        "Reviewer2",
        "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by "
        "Shakespeare.",
    ),
)
UNAVAILABLE_PERIOD = {
    "v-unavailable": 60.0,
    "v-unhealthy": 900.0,
}  # seconds until good turns bad
DELAY = 7.0  # seconds that v-delayed waits in half of the cases


def number(path: str, prefix: str) -> int | None:
    """The product's id in `<prefix><id>`, or None when it is none."""
    rest = path.removeprefix(prefix).strip("/")
    good = path.startswith(prefix) and rest.isascii() and rest.isdigit() and len(rest) < 10
    return int(rest) if good else None


def address(env: Mapping[str, str], service: str) -> str:
    """The URL of another service: its host, domain and port can be set in the environment."""
    host = env.get(f"{service.upper()}_HOSTNAME", service)
    domain = f".{env['SERVICES_DOMAIN']}" if env.get("SERVICES_DOMAIN") else ""
    return f"http://{host}{domain}:{env.get(f'{service.upper()}_SERVICE_PORT', '9080')}"


def details(env: Mapping[str, str]) -> Service:
    """The book's details. Exits when the external book service is asked for: this build does not have it."""
    if env.get("ENABLE_EXTERNAL_BOOK_SERVICE") == "true":
        sys.exit("this build of details has no external book service")

    def service(request: Request) -> Response:
        if request.path == "/health":
            return reply({"status": "Details is healthy"})
        if not request.path.startswith("/details"):
            return not_found(request)
        book = number(request.path, "/details/")
        if book is None:
            return reply({"error": "please provide numeric product id"}, 400)
        return reply(
            {
                "id": book,
                "author": "William Shakespeare",
                "year": 1595,
                "type": "paperback",
                "pages": 200,
                "publisher": "PublisherA",
                "language": "English",
                "ISBN-10": "1234567890",
                "ISBN-13": "123-1234567890",
            }
        )

    return service


def ratings(
    env: Mapping[str, str],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Service:
    """The stars. SERVICE_VERSION picks a misbehaviour: v-faulty, v-delayed, v-unavailable, v-unhealthy.

    Exits for v2, which needs a database.
    """
    version = env.get("SERVICE_VERSION", "v1")
    if version == "v2":
        sys.exit("this build of ratings has no database, so no v2")
    start, stored = now(), dict[int, Any]()

    def bad() -> bool:
        period = UNAVAILABLE_PERIOD.get(version)
        return period is not None and int((now() - start) / period) % 2 == 1

    def read(product: int) -> Response:
        if bad() or (version == "v-faulty" and chance() <= 0.5):
            return reply({"error": "Service unavailable"}, 503)
        if version == "v-delayed" and chance() <= 0.5:
            sleep(DELAY)
        return reply({"id": product, "ratings": stored.get(product, {"Reviewer1": 5, "Reviewer2": 4})})

    def service(request: Request) -> Response:
        if request.path == "/health":
            ill = version == "v-unhealthy" and bad()
            return reply({"status": f"Ratings is {'not ' if ill else ''}healthy"}, 500 if ill else 200)
        if not request.path.startswith("/ratings/"):
            return not_found(request)
        product = number(request.path, "/ratings/")
        if product is None:
            return reply({"error": "please provide numeric product ID"}, 400)
        if request.method == "POST":
            try:
                stored[product] = json.loads(request.body)
            except ValueError:
                return reply({"error": "please provide valid ratings JSON"}, 400)
            return reply({"id": product, "ratings": stored[product]})
        return read(product)

    return service


def reviews(env: Mapping[str, str], fetch: Fetch) -> Service:
    """The reviews, with stars from ratings when ENABLE_RATINGS is true, in STAR_COLOR (black by default)."""
    wanted = env.get("ENABLE_RATINGS", "").lower() == "true"
    color = env.get("STAR_COLOR", "black")
    timeout = 10.0 if color == "black" else 2.5
    url = f"{address(env, 'ratings')}/ratings"

    def stars(product: int, request: Request) -> dict[str, int]:
        try:
            status, found = fetch(f"{url}/{product}", forwarded(request.headers), timeout)
        except (OSError, ValueError, http.client.HTTPException) as problem:
            print(f"Error: unable to contact {url} got exception {problem}", flush=True)
            return {}
        if status != 200:
            print(f"Error: unable to contact {url} got status of {status}", flush=True)
            return {}
        given: dict[str, int] = found.get("ratings", {})
        return given

    def service(request: Request) -> Response:
        if request.path == "/health":
            return reply({"status": "Reviews is healthy"})
        product = number(request.path, "/reviews/")
        if product is None:
            return not_found(request)
        given = stars(product, request) if wanted else {}
        listed = []
        for reviewer, text in REVIEWS:
            review: dict[str, Any] = {"reviewer": reviewer, "text": text}
            if wanted and reviewer in given:
                review["rating"] = {"stars": given[reviewer], "color": color}
            elif wanted:
                review["rating"] = {"error": "Ratings service is currently unavailable"}
            listed.append(review)
        return reply(
            {
                "id": str(product),
                "podname": env.get("HOSTNAME", "null"),
                "clustername": env.get("CLUSTER_NAME", "null"),
                "reviews": listed,
            }
        )

    return service
