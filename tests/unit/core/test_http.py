"""A question has one deadline, and every way to get no answer is a QueryError that says what to do."""

from __future__ import annotations

import pytest

from meshlab.core.errors import QueryError
from meshlab.core.http import Getter
from tests.fakes.http_server import FakeHttpServer, Reply


def getter(url: str, *, timeout: float = 5.0, why: str = "") -> Getter:
    return Getter(url, timeout=timeout, name="Kiali", remedy="look at it", why=lambda: why)


def test_json_and_its_parameters():
    with FakeHttpServer({"/api": Reply({"a": [1, "ü"]})}) as server:
        assert getter(server.url + "/").json("/api", {"x": 1, "y": "z"}) == {"a": [1, "ü"]}
        assert server.asked == [("/api", {"x": ["1"], "y": ["z"]})]


@pytest.mark.parametrize(
    ("reply", "words", "retryable"),
    [
        (Reply({"errors": [{"code": 400, "msg": "no service"}]}, 400), "400: no service", False),
        (Reply({"error": "Prometheus is away", "detail": ""}, 503), "503: Prometheus is away", True),
        (Reply("upstream connect error", 502), "502: upstream connect error", True),
        (Reply("", 500), "500: nothing", True),
        (Reply({"other": 1}, 404), "404: ", False),
        (Reply("<html>", 200), "with no JSON: '<html>'", True),
    ],
)
def test_refusals(reply: Reply, words: str, retryable: bool):
    with FakeHttpServer({"/api": reply}) as server, pytest.raises(QueryError) as caught:
        getter(server.url).json("/api")
    assert words in caught.value.message and caught.value.remedy
    assert caught.value.retryable is retryable


def test_an_answer_that_never_begins():
    with FakeHttpServer({"/api": Reply(way="silent")}) as server, pytest.raises(QueryError) as caught:
        getter(server.url, timeout=0.2).json("/api")
    assert "timed out" in caught.value.message and caught.value.retryable


def test_an_answer_that_never_ends():
    with FakeHttpServer({"/api": Reply("{", way="drip")}) as server, pytest.raises(QueryError) as caught:
        getter(server.url, timeout=0.3).json("/api")
    assert "did not end its answer to /api within 0.3 s" in caught.value.message


def test_no_server_and_who_knows_the_cause():
    with FakeHttpServer({}) as server:
        url = server.url
    with pytest.raises(QueryError, match="refused"):
        getter(url).get("/api")
    with pytest.raises(QueryError, match=r"can't be asked for /api: no pod is Ready\n"):
        getter(url, why="no pod is Ready").get("/api")


def test_an_answer_without_measure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("meshlab.core.http.LARGEST", 1000)
    with (
        FakeHttpServer({"/api": Reply("x" * 5000)}) as server,
        pytest.raises(QueryError, match="larger") as e,
    ):
        getter(server.url).get("/api")
    assert not e.value.retryable
