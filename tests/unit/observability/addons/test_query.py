"""Prometheus's answers become values, and whatever goes wrong a QueryError that says whether to try again."""

from __future__ import annotations

import math
import socket

import pytest

from meshlab.core.errors import QueryError
from meshlab.observability.addons.query import PrometheusClient
from tests.fakes.prometheus_server import FakePrometheusServer, success

QUERY = "/api/v1/query"


def vector(*series: dict) -> dict:
    return {"resultType": "vector", "result": list(series)}


def ask(answer: tuple[int, object], promql: str = "up"):
    with FakePrometheusServer({QUERY: answer}) as server:
        return PrometheusClient(server.url).query(promql)


def test_an_instant_vector_with_every_kind_of_value():
    values = ("3", "NaN", "+Inf")
    found = ask(success(vector(*({"metric": {"n": v}, "value": [12.5, v]} for v in values))))
    assert [(s.labels, s.time) for s in found] == [({"n": v}, 12.5) for v in values]
    assert found[0].value == 3 and math.isnan(found[1].value) and found[2].value == math.inf


def test_a_scalar_is_one_sample_without_labels():
    [found] = ask(success({"resultType": "scalar", "result": [1.5, "2"]}))
    assert (found.labels, found.value, found.time) == ({}, 2.0, 1.5)


def test_the_time_is_passed_on():
    with FakePrometheusServer({QUERY: success(vector())}) as server:
        assert PrometheusClient(server.url).query("up", at=99.5) == []
    assert server.asked == [(QUERY, {"query": ["up"], "time": ["99.5"]})]


def test_raw_samples_of_a_range_selector():
    answer = success(
        {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": [[1, "1"], [6.5, "4"]]}]}
    )
    with FakePrometheusServer({QUERY: answer}) as server:
        [found] = PrometheusClient(server.url).range_samples('up{a="b"}', 300, at=10)
    assert (found.labels, found.points) == ({"a": "b"}, ((1.0, 1.0), (6.5, 4.0)))
    assert server.asked[0][1]["query"] == ['up{a="b"}[300000ms]']


def test_a_range_where_an_instant_vector_was_asked():
    with pytest.raises(QueryError, match="not an instant vector") as caught:
        ask(success({"resultType": "matrix", "result": [{"metric": {}, "values": []}]}))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("answer", "said", "retryable"),
    [
        ((400, {"status": "error", "error": "parse error"}), "parse error", False),
        ((503, {"status": "error", "error": "starting"}), "starting", True),
        ((200, "<html>somebody else</html>"), "no JSON", True),
        ((200, {"status": "success"}), "none of Prometheus's", True),
        ((200, success({"result": [{"metric": {}, "value": [1, "much"]}]})[1]), "much", True),
    ],
)
def test_answers_that_are_none(answer: tuple[int, object], said: str, retryable: bool):
    with pytest.raises((QueryError, ValueError), match=said) as caught:
        ask(answer)
    assert isinstance(caught.value, QueryError)
    assert caught.value.retryable is retryable and caught.value.remedy


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(QueryError, match="can't be asked for up") as caught:
        PrometheusClient(url).query("up")
    assert caught.value.retryable


def test_ready_means_that_a_query_is_answered():
    with FakePrometheusServer({QUERY: success(vector({"metric": {}, "value": [1, "1"]}))}) as server:
        PrometheusClient(server.url).ready()
    with (
        FakePrometheusServer({QUERY: success(vector())}) as server,
        pytest.raises(QueryError, match=r"vector\(1\)"),
    ):
        PrometheusClient(server.url).ready()


def test_targets():
    active = [
        {
            "labels": {"job": "b", "instance": "1:15020", "pod": "p", "namespace": "default"},
            "discoveredLabels": {},
            "health": "down",
            "lastError": "refused",
            "lastScrape": "2026-01-02T03:04:05.123456789Z",
            "scrapeUrl": "http://1:15020/stats/prometheus",
        },
        {
            "labels": {"job": "a", "instance": "x"},
            "discoveredLabels": {"__meta_kubernetes_pod_name": "q"},
            "health": "unknown",
            "lastScrape": "0001-01-01T00:00:00Z",
        },
    ]
    with FakePrometheusServer({"/api/v1/targets": success({"activeTargets": active})}) as server:
        a, b = PrometheusClient(server.url).targets()
    assert (a.job, a.pod, a.last_scrape, a.last_error) == ("a", "q", 0.0, "")
    assert (b.health, b.last_error, b.namespace) == ("down", "refused", "default")
    assert b.last_scrape == pytest.approx(1767323045.123456)


def test_series_and_label_values():
    answers = {
        "/api/v1/series": success([{"__name__": "up"}]),
        "/api/v1/label/job/values": success(["b", "a"]),
    }
    with FakePrometheusServer(answers) as server:
        client = PrometheusClient(server.url)
        assert client.series("up") == [{"__name__": "up"}]
        assert client.label_values("job", "up") == ["a", "b"]
    (_, window), (_, narrowed) = server.asked
    assert float(window["end"][0]) - float(window["start"][0]) == pytest.approx(3600)
    assert window["match[]"] == narrowed["match[]"] == ["up"]


def test_what_stands_between_may_know_why():
    client = PrometheusClient("http://127.0.0.1:9", timeout=2, why=lambda: "no pod of prometheus is Ready")
    with pytest.raises(QueryError, match="can't be asked for up: no pod of prometheus is Ready") as caught:
        client.query("up")
    assert caught.value.retryable


def test_a_range_of_values():
    answer = success(
        {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": [[10, "1"], [15, "NaN"]]}]}
    )
    with FakePrometheusServer({"/api/v1/query_range": answer}) as server:
        [found] = PrometheusClient(server.url).query_range("rate(x[1m])", 10, 20.4, 2.5)
    assert found.labels == {"a": "b"} and found.points[0] == (10, 1) and math.isnan(found.points[1][1])
    [(_, asked)] = server.asked
    assert asked == {"query": ["rate(x[1m])"], "start": ["10"], "end": ["20"], "step": ["2.5"]}
