"""A contract: what Grafana's API answers becomes series, or a QueryError that says whether to try again."""

from __future__ import annotations

import math
import socket
import threading
from typing import Any

import pytest

from meshlab.core.errors import QueryError
from meshlab.observability.addons.grafana_client import GrafanaClient
from tests.fakes.grafana import DATASOURCES, HEALTH, QUERY, UID, VALUES, FakeGrafana, datasource, frame
from tests.fakes.http_server import Reply

LOGIN = Reply("<html><title>Grafana</title><form action='/login'>")


def ask(server: FakeGrafana, promql: str = "up", **options: Any):
    client = GrafanaClient(server.url, timeout=options.pop("timeout", 5))
    return client.query(promql, **{"start": 1000.0, "end": 2800.0, "instant": False, **options})


def refused(server: FakeGrafana, **options: Any) -> QueryError:
    with server, pytest.raises(QueryError) as caught:
        ask(server, **options)
    return caught.value


def test_the_question_is_a_panels():
    with FakeGrafana() as server:
        client = GrafanaClient(server.url + "/")
        assert client.version() == "12.3.1"
        for instant in (False, True):
            client.query(
                "rate(x[$__rate_interval])",
                start=1000.4,
                end=2800,
                instant=instant,
                interval_ms=5000,
                points=360,
            )
        assert server.paths() == [HEALTH, DATASOURCES, QUERY, QUERY], "the datasource is looked up once"
        [first, second] = server.queries
    assert (first["from"], first["to"]) == ("1000400", "2800000")
    assert first["queries"] == [
        {
            "refId": "A",
            "datasource": {"type": "prometheus", "uid": UID},
            "expr": "rate(x[$__rate_interval])",
            "instant": False,
            "range": True,
            "format": "time_series",
            "intervalMs": 5000,
            "maxDataPoints": 360,
            "interval": "",
            "intervalFactor": 1,
        }
    ]
    assert (second["queries"][0]["instant"], second["queries"][0]["range"]) == (True, False)


def test_series_with_every_kind_of_value():
    odd = ((1.0, 2.5), (16.0, math.nan), (31.0, math.inf), (46.0, -math.inf))
    with FakeGrafana({"up": [frame({"app": "a"}, *odd), frame({}, (1.0, 7))]}) as server:
        [first, second] = ask(server)
    assert first.labels == {"app": "a"}
    assert [when for when, _ in first.points] == [1, 16, 31, 46]
    assert [str(value) for _, value in first.points] == ["2.5", "nan", "inf", "-inf"]
    assert (second.labels, second.points) == ({}, ((1.0, 7.0),))


def test_one_wide_frame_holds_several_series():
    wide = {
        "schema": {
            "fields": [
                {"name": "a", "type": "number", "labels": {"n": "1"}},
                {"name": "Time", "type": "time"},
                {"name": "words", "type": "string"},
                {"name": "b", "type": "number"},
            ]
        },
        "data": {"values": [[1, None], [1000, 2000], ["x", "y"], [3, 4]]},
    }
    with FakeGrafana({"up": [wide]}) as server:
        [first, second] = ask(server)
    assert first.points[0] == (1.0, 1.0) and math.isnan(first.points[1][1])
    assert (second.labels, second.points) == ({}, ((1.0, 3.0), (2.0, 4.0)))


def test_nothing_found_is_an_answer():
    for frames in ([frame()], [], None):
        with FakeGrafana({"up": frames}) as server:
            assert ask(server) == []


def test_label_values():
    with FakeGrafana() as server:
        client = GrafanaClient(server.url)
        assert client.label_values("app", "istio_build") == ["productpage", "sleep"]
        assert client.label_values("app") == ["productpage", "sleep"]
    assert [params for path, params in server.asked if path == VALUES] == [{"match[]": ["istio_build"]}, {}]


@pytest.mark.parametrize(
    ("answer", "retryable", "says"),
    [
        ((400, "bad_data: invalid parameter: parse error"), False, "parse error"),
        ((500, "Post: dial tcp: connection refused"), True, "connection refused"),
        ((502, "bad gateway"), True, "bad gateway"),
        ((429, "too many outstanding requests"), True, "too many"),
        # Before Grafana 10: no status beside the error, and every failure a 400.
        (Reply({"results": {"A": {"error": "bad_data: parse error"}}}, 400), False, "bad_data"),
        (Reply({"results": {"A": {"error": "dial tcp: no such host"}}}, 400), True, "no such host"),
        (Reply({"message": "Unauthorized"}, 401), False, "Unauthorized"),
        (Reply({"message": "Access denied"}, 403), False, "Access denied"),
        (Reply("upstream request timeout", 504), True, "upstream request timeout"),
        (Reply("", 503), True, "503"),
        (LOGIN, True, "no JSON"),
        (Reply([1, 2]), True, "none of Grafana's"),
        (Reply({"results": {}}), True, "none of Grafana's"),
        (Reply({"results": {"A": {"frames": [{"schema": {}}]}}}), True, "none of Grafana's"),
        (Reply({"results": {"A": {"frames": [7]}}}), True, "none of Grafana's"),
    ],
)
def test_errors_say_whether_to_try_again(answer: Any, retryable: bool, says: str):
    problem = refused(FakeGrafana({"up": answer}))
    assert says in problem.message and problem.remedy
    assert problem.retryable is retryable


def test_a_frame_that_does_not_fit():
    short = frame({"a": "b"}, (1, 1))
    short["data"]["values"].pop()
    timeless = frame({"a": "b"}, (1, 1))
    timeless["schema"]["fields"][0]["type"] = "string"
    uneven = frame({"a": "b"}, (1, 1), (2, 2))
    uneven["data"]["values"][1].pop()
    for broken in (short, timeless, uneven):
        assert "none of Grafana's" in refused(FakeGrafana({"up": [broken]})).message


def test_a_datasource_that_is_not_there():
    problem = refused(FakeGrafana(datasources=Reply([datasource("Logs", "loki")])))
    assert "Logs (loki)" in problem.message and not problem.retryable and "grafana.url" in problem.remedy
    assert "has: none" in refused(FakeGrafana(datasources=Reply([]))).message
    gone = Reply({"message": "Not found"}, 404)
    problem = refused(FakeGrafana(datasources=gone))
    assert "Not found" in problem.message and not problem.retryable
    assert "none of Grafana's" in refused(FakeGrafana(datasources=Reply({"id": 1}))).message


@pytest.mark.parametrize(
    "listed",
    [
        [datasource("Metrics", uid=UID)],
        [datasource("Other", uid="other"), datasource("kube-metrics", default=True)],
        [datasource("Logs", "loki", uid="logs", default=True), datasource("A"), datasource("B", uid="b")],
    ],
    ids=["another name", "the default of several", "the first where another kind is the default"],
)
def test_the_datasource_is_known_by_its_type(listed: list[dict[str, Any]]):
    with FakeGrafana(datasources=Reply(listed)) as server:
        ask(server)
    assert [each["queries"][0]["datasource"]["uid"] for each in server.queries] == [UID]


def test_a_database_that_is_locked():
    with (
        FakeGrafana(health=Reply({"database": "failing", "version": "12"})) as server,
        pytest.raises(QueryError, match="not healthy") as caught,
    ):
        GrafanaClient(server.url).version()
    assert caught.value.retryable


@pytest.mark.parametrize("way", ["silent", "drip"])
def test_a_slow_answer_is_given_up_at_the_deadline(way: str):
    problem = refused(FakeGrafana({"up": Reply({"results": {}}, way=way)}), timeout=0.3)
    assert problem.retryable and "Grafana" in problem.message


def test_a_connection_that_is_cut_and_one_that_is_refused():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()

        def cut() -> None:
            connection, _ = listener.accept()
            connection.close()

        thread = threading.Thread(target=cut, daemon=True)
        thread.start()
        client = GrafanaClient(f"http://127.0.0.1:{address[1]}", timeout=5, why=lambda: "the pod was deleted")
        with pytest.raises(QueryError, match="the pod was deleted") as caught:
            client.version()
        thread.join()
    assert caught.value.retryable
    with pytest.raises(QueryError) as refused_one:
        GrafanaClient(f"http://127.0.0.1:{address[1]}", timeout=5).uid()
    assert refused_one.value.retryable
