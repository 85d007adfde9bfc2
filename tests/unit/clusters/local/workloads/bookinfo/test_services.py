"""Bookinfo's services over real HTTP on loopback: routes, JSON, switches, and the headers that travel."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from meshlab.clusters.local import workloads
from meshlab.clusters.local.workloads.bookinfo.__main__ import build
from meshlab.clusters.local.workloads.bookinfo.backends import ratings
from meshlab.clusters.local.workloads.bookinfo.web import FORWARDED, Request, Response, Server, Service

TRACE = {
    "x-request-id": "34eeb41d-d267-9e49-8b84-dde403fc5b72",
    "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7",
    "x-b3-spanid": "e457b5a2e4d86bd1",
    "x-b3-sampled": "1",
    "traceparent": "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01",
    "tracestate": "a=b",
    "sw8": "40c7fdf104e3de67",
    "authorization": "Bearer x",
    "user-agent": "a-test",
}
Answer = tuple[int, dict[str, str], str]
Serve = Callable[[Service], int]


class Recorder:
    """A service around a service that keeps the headers it was asked with."""

    def __init__(self, inner: Service) -> None:
        self.inner, self.seen = inner, list[Mapping[str, str]]()

    def __call__(self, request: Request) -> Response:
        self.seen.append(request.headers)
        return self.inner(request)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves on a free loopback port for as long as the test lasts; returns the port."""
    with ExitStack() as stack:

        def start(service: Service) -> int:
            server = stack.enter_context(Server(0, service, host="127.0.0.1"))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return int(server.server_port)

        yield start


def ask(
    port: int, path: str, method: str = "GET", body: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body or None, headers=dict(headers or {}))
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, fields, answer.read().decode()
    finally:
        connection.close()


def document(answer: Answer) -> dict[str, object]:
    assert answer[1]["content-type"] == "application/json"
    found: dict[str, object] = json.loads(answer[2])
    return found


def hosts(**ports: int) -> dict[str, str]:
    """The environment that points services at loopback ports."""
    env = {}
    for name, port in ports.items():
        env[f"{name.upper()}_HOSTNAME"] = "127.0.0.1"
        env[f"{name.upper()}_SERVICE_PORT"] = str(port)
    return env


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mesh(serve: Serve) -> dict[str, Recorder]:
    """All four services, wired together; `reviews` is v3."""
    made = {name: Recorder(build(name, {})) for name in ("details", "ratings")}
    ports = {name: serve(service) for name, service in made.items()}
    env = {
        **hosts(ratings=ports["ratings"]),
        "ENABLE_RATINGS": "true",
        "STAR_COLOR": "red",
        "HOSTNAME": "reviews-v3-x",
    }
    made["reviews"] = Recorder(build("reviews", env))
    ports["reviews"] = serve(made["reviews"])
    made["productpage"] = Recorder(build("productpage", hosts(**ports)))
    return made


def test_the_page_shows_details_reviews_and_stars(serve: Serve, mesh: dict[str, Recorder]) -> None:
    status, fields, page = ask(serve(mesh["productpage"]), "/productpage?u=normal")
    assert status == 200 and fields["content-type"].startswith("text/html")
    assert "<title>Simple Bookstore App</title>" in page
    assert "1234567890" in page and "Reviews served by: reviews-v3-x" in page
    assert len(re.findall("glyphicon-star", page)) == 5 + 4
    assert "Error fetching" not in page


def test_trace_headers_travel_to_every_service(serve: Serve, mesh: dict[str, Recorder]) -> None:
    ask(
        serve(mesh["productpage"]),
        "/productpage",
        headers={**TRACE, "cookie": "session=jason", "x-private": "no"},
    )
    for name in ("details", "reviews", "ratings"):
        (seen,) = mesh[name].seen
        assert {key: seen[key] for key in TRACE} == TRACE, name
        assert seen["end-user"] == "jason" and seen["cookie"] == "session=jason"
        assert "x-private" not in seen


def test_every_forwarded_header_is_forwarded(serve: Serve, mesh: dict[str, Recorder]) -> None:
    sent = {name: f"value of {name}" for name in FORWARDED}
    ask(serve(mesh["reviews"]), "/reviews/0", headers=sent)
    assert {name: mesh["ratings"].seen[0][name] for name in FORWARDED} == sent


def test_only_the_session_says_who_the_user_is(serve: Serve, mesh: dict[str, Recorder]) -> None:
    ask(serve(mesh["productpage"]), "/productpage", headers={"end-user": "mallory"})
    assert "end-user" not in mesh["reviews"].seen[0]


def test_sign_in_and_out(serve: Serve, mesh: dict[str, Recorder]) -> None:
    port = serve(mesh["productpage"])
    form = {"content-type": "application/x-www-form-urlencoded", "referer": "/productpage"}
    status, fields, _ = ask(port, "/login", "POST", "username=j%20%3Cb%3E&passwd=", form)
    assert status == 302 and fields["location"] == "/productpage"
    cookie = fields["set-cookie"].partition(";")[0]
    assert "j &lt;b&gt;" in ask(port, "/productpage", headers={"cookie": cookie})[2]
    assert "Max-Age=0" in ask(port, "/logout")[1]["set-cookie"]


def test_the_api_answers_as_upstream(serve: Serve, mesh: dict[str, Recorder]) -> None:
    port = serve(mesh["productpage"])
    assert json.loads(ask(port, "/api/v1/products")[2])[0]["title"] == "The Comedy of Errors"
    assert document(ask(port, "/api/v1/products/0"))["ISBN-13"] == "123-1234567890"
    assert document(ask(port, "/api/v1/products/0/ratings")) == {
        "id": 0,
        "ratings": {"Reviewer1": 5, "Reviewer2": 4},
    }
    reviews = document(ask(port, "/api/v1/products/0/reviews"))
    assert (reviews["id"], reviews["podname"], reviews["clustername"]) == ("0", "reviews-v3-x", "null")
    assert ask(port, "/api/v1/products/x")[0] == ask(port, "/nowhere")[0] == 404


@pytest.mark.parametrize(
    ("env", "rating"),
    [
        ({}, None),
        ({"ENABLE_RATINGS": "true"}, {"stars": 5, "color": "black"}),
        ({"ENABLE_RATINGS": "true", "STAR_COLOR": "red"}, {"stars": 5, "color": "red"}),
    ],
    ids=["v1", "v2", "v3"],
)
def test_the_three_versions_of_reviews(serve: Serve, env: dict[str, str], rating: object) -> None:
    port = serve(build("reviews", {**env, **hosts(ratings=serve(build("ratings", {})))}))
    first = document(ask(port, "/reviews/0"))["reviews"][0]  # type: ignore[index]
    assert first.get("rating") == rating
    assert first["reviewer"] == "Reviewer1"


def test_reviews_without_ratings_say_so(serve: Serve) -> None:
    port = serve(build("reviews", {"ENABLE_RATINGS": "true", **hosts(ratings=closed_port())}))
    found = document(ask(port, "/reviews/0"))["reviews"]
    assert [one["rating"] for one in found] == [{"error": "Ratings service is currently unavailable"}] * 2  # type: ignore[attr-defined]


def test_a_page_whose_backends_fail_is_still_a_page(serve: Serve) -> None:
    asked = list[str]()

    def broken(request: Request) -> Response:
        asked.append(request.path)
        return Response(503, b"no")

    port = serve(build("productpage", hosts(details=closed_port(), reviews=serve(broken), ratings=1)))
    status, _, page = ask(port, "/productpage")
    assert (
        status == 200
        and "Error fetching product details" in page
        and "Error fetching product reviews" in page
    )
    assert asked == ["/reviews/0"] * 2  # upstream asks twice
    assert ask(port, "/api/v1/products/0/reviews")[0] == 503
    metrics = ask(port, "/metrics")[2]
    assert 'request_result_total{destination_app="details",response_code="500"} 1' in metrics
    assert 'request_result_total{destination_app="reviews",response_code="503"} 2' in metrics


def test_details_wants_a_number(serve: Serve) -> None:
    port = serve(build("details", {}))
    assert document(ask(port, "/details/7"))["id"] == 7
    assert ask(port, "/details/x")[0] == 400


def test_ratings_can_be_posted(serve: Serve) -> None:
    port = serve(build("ratings", {}))
    wanted = {"id": 3, "ratings": {"Reviewer1": 1}}
    assert document(ask(port, "/ratings/3", "POST", '{"Reviewer1": 1}')) == wanted
    assert document(ask(port, "/ratings/3")) == wanted
    assert ask(port, "/ratings/3", "POST", "{")[0] == ask(port, "/ratings/x")[0] == 400


def test_ratings_misbehave_on_request() -> None:
    def status(version: str, *, at: float = 0.0, chance: float = 1.0, path: str = "/ratings/0") -> int:
        times = iter((0.0, *[at] * 3))
        service = ratings(
            {"SERVICE_VERSION": version}, now=lambda: next(times), sleep=slept.append, chance=lambda: chance
        )
        return service(Request("GET", path, {}, {})).status

    slept = list[float]()
    assert (status("v-faulty", chance=0.4), status("v-faulty", chance=0.6)) == (503, 200)
    assert (status("v-unavailable", at=59), status("v-unavailable", at=61)) == (200, 503)
    assert (status("v-unhealthy", at=901, path="/health"), status("v1", at=901, path="/health")) == (500, 200)
    assert slept == []
    assert status("v-delayed", chance=0.4) == 200 and slept == [7.0]


@pytest.mark.parametrize("name", ["productpage", "details", "reviews", "ratings"])
def test_everybody_is_healthy_and_keeps_the_connection(serve: Serve, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serve(build(name, {})), timeout=10)
    connection.connect()
    held = connection.sock
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/health")
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200 and (text == b"") == (method == "HEAD")
    assert connection.sock is held
    connection.close()


def test_chunks_are_refused_instead_of_misread(serve: Serve) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serve(build("ratings", {})), timeout=10)
    # Without the body: it would meet a connection that the service has closed already.
    connection.putrequest("POST", "/ratings/0")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


@pytest.mark.parametrize(
    ("name", "env"),
    [("ratings", {"SERVICE_VERSION": "v2"}), ("details", {"ENABLE_EXTERNAL_BOOK_SERVICE": "true"})],
)
def test_what_this_build_has_not_ends_the_program(name: str, env: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match="this build"):
        build(name, env)


def test_the_program_runs_alone_and_ends_on_sigterm() -> None:
    """As in the image: the folder above on the path, isolated from meshlab, and 0 after SIGTERM."""
    folder = Path(workloads.__file__).parent
    port = closed_port()
    child = subprocess.Popen(
        [sys.executable, "-S", "-m", "bookinfo", "details", str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None and "listening" in child.stdout.readline()
        assert document(ask(port, "/details/0"))["author"] == "William Shakespeare"
        child.terminate()
        assert child.wait(timeout=20) == 0
    finally:
        child.kill()
        child.communicate()


def test_a_wrong_command_line_shows_the_usage() -> None:
    folder = Path(workloads.__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "bookinfo", "nothing"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "usage" in done.stderr
