"""A contract: what Jaeger's query API answers becomes values, or a QueryError."""

from __future__ import annotations

import pytest

from meshlab.core.errors import QueryError
from meshlab.observability.addons.jaeger_client import Dependency, JaegerClient
from tests.fakes.http_server import FakeHttpServer, Reply
from tests.fakes.jaeger import PAGE, T0, FakeJaeger, answer, json_span, json_trace, page_trace, refusal


def test_services_and_page():
    with FakeJaeger([page_trace()]) as server:
        client = JaegerClient(server.url)
        assert client.services() == (
            "details.default",
            "productpage.default",
            "ratings.default",
            "reviews.default",
            "sleep.default",
        )
        assert client.page == f"{server.url}/jaeger/search"
    with FakeJaeger() as server:  # Jaeger answers null where it knows none
        assert JaegerClient(server.url).services() == ()


def test_a_jaeger_without_a_base_path_that_answers_others_with_its_page():
    with FakeJaeger([page_trace()], base="") as server:
        server.replies["/jaeger/api/services"] = Reply(PAGE)
        client = JaegerClient(server.url)
        assert len(client.services()) == 5
        assert client.page == f"{server.url}/search"


def test_traces_newest_first_with_their_spans():
    with FakeJaeger([page_trace("old"), page_trace("new", start=T0 + 5)]) as server:
        found = JaegerClient(server.url).traces("productpage.default", start=T0 - 1, end=T0 + 60, limit=7)
        params = server.asked[-1][1]
    assert params == {
        "service": ["productpage.default"],
        "start": [str(int((T0 - 1) * 1e6))],
        "end": [str(int((T0 + 60) * 1e6))],
        "limit": ["7"],
    }
    assert [trace.trace_id for trace in found] == ["new", "old"]
    root, child = found[1].spans[:2]
    assert (root.id, root.parent, root.service) == ("s", None, "sleep.default")
    assert (root.start_us, root.duration_ms, root.status, root.error) == (int(T0 * 1e6), 30.0, "200", False)
    assert root.tags["istio.canonical_service"] == "sleep"
    assert (child.parent, child.service) == ("s", "productpage.default")


def test_an_error_tag_of_any_spelling():
    span = json_span("x", None, "ratings", status=503, error=True)
    with FakeJaeger([json_trace([span])]) as server:
        found = JaegerClient(server.url).traces("ratings.default", start=T0 - 1, end=T0 + 1)
    assert (found[0].spans[0].status, found[0].spans[0].error) == ("503", True)


def test_dependencies_in_milliseconds():
    with FakeJaeger(links=[("b.x", "c.x", 2), ("a.x", "b.x", 3)]) as server:
        found = JaegerClient(server.url).dependencies(end=T0, lookback=60)
        assert server.asked[-1][1] == {"endTs": [str(int(T0 * 1e3))], "lookback": ["60000"]}
    assert found == (Dependency("a.x", "b.x", 3), Dependency("b.x", "c.x", 2))


@pytest.mark.parametrize(
    ("reply", "words", "retryable"),
    [
        (refusal(500, "storage is closed"), "500: storage is closed", True),
        (refusal(400, "cannot parse limit"), "400: cannot parse limit", False),
        (Reply({**answer([]), "errors": [{"msg": "trace not found"}]}), "trace not found", True),
        (Reply({"data": [{"traceID": "t", "spans": []}]}), "none of Jaeger's", True),
        (Reply([1, 2]), "none of Jaeger's", True),
        (Reply(PAGE), "no JSON", True),
        (Reply(way="silent"), "timed out", True),
        (Reply('{"data": [', way="drip"), "did not end", True),
    ],
)
def test_answers_that_are_none(reply: Reply, words: str, retryable: bool):
    with FakeJaeger([page_trace()]) as server:
        server.replies["/jaeger/api/traces"] = reply
        client = JaegerClient(server.url, timeout=5 if reply.way == "whole" else 1.5)
        with pytest.raises(QueryError) as caught:
            client.traces("productpage.default")
    assert words in caught.value.message
    assert caught.value.retryable is retryable


def test_something_else_listens_there():
    with FakeHttpServer({}) as server, pytest.raises(QueryError, match="404"):
        JaegerClient(server.url).services()
    with FakeJaeger() as server:
        server.replies["/jaeger/api/services"] = refusal(500, "badger is closed")
        with pytest.raises(QueryError, match="badger is closed") as caught:  # not the 404 of the other base
            JaegerClient(server.url).services()
    assert caught.value.retryable
