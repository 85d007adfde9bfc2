"""Prometheus and Grafana are asked the same question, each in its own words."""

from __future__ import annotations

import math

from meshlab.observability.addons.grafana_client import GrafanaClient
from meshlab.observability.addons.query import PrometheusClient, RangeSamples
from meshlab.observability.dashboards.intervals import Intervals
from meshlab.observability.dashboards.model import Target
from meshlab.observability.dashboards.sources import GrafanaSource, PrometheusSource, Query
from tests.fakes.grafana import FakeGrafana, frame
from tests.fakes.prometheus_server import FakePrometheusServer, success

STEPS = Intervals(step=20, interval=15, rate=60, range_seconds=1800, points=100)
EXPR = "rate(x[$__rate_interval]) + ${__interval_ms} + $__interval + $__range_s"
RANGE = Query(Target("A", EXPR, factor=2, interval="10s"), EXPR, STEPS, 10_007.9)
INSTANT = Query(Target("A", "x", instant=True), "x", STEPS, 10_007.9)


def test_interval_variables_are_resolved():
    assert RANGE.promql == "rate(x[1m0s]) + 20000 + 20s + 1800"


def test_prometheus_is_asked_for_a_range_that_ends_now():
    answer = success(
        {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": [[9987, "1"], [10007, "NaN"]]}]}
    )
    with FakePrometheusServer({"/api/v1/query_range": answer}) as server:
        [line] = PrometheusSource(PrometheusClient(server.url)).ask(RANGE)
    [(path, asked)] = server.asked
    assert (path, asked["query"]) == ("/api/v1/query_range", [RANGE.promql])
    assert (asked["start"], asked["end"], asked["step"]) == (["8207"], ["10007"], ["20"])
    assert line.labels == {"a": "b"} and line.points[0] == (9987, 1) and line.has_value
    assert math.isnan(line.points[1][1])


def test_prometheus_is_asked_for_one_value_where_the_panel_wants_one():
    answer = success({"resultType": "vector", "result": [{"metric": {}, "value": [10007.9, "2"]}]})
    with FakePrometheusServer({"/api/v1/query": answer}) as server:
        source = PrometheusSource(PrometheusClient(server.url))
        assert source.ask(INSTANT) == (RangeSamples({}, ((10007.9, 2.0),)),)
        assert source.vector("x") == [({}, 2.0)]
    assert server.asked[0][1] == {"query": ["x"], "time": ["10007.9"]}


def test_grafana_is_left_to_compute_the_intervals():
    with FakeGrafana({EXPR: [frame({"a": "b"}, (9990, 1.5))], "x": [frame({}, (10007, 2))]}) as server:
        source = GrafanaSource(GrafanaClient(server.url))
        assert source.name == "Grafana 12.3.1"
        assert source.ask(RANGE) == (RangeSamples({"a": "b"}, ((9990.0, 1.5),)),)
        assert source.ask(INSTANT) == (RangeSamples({}, ((10007.0, 2.0),)),)
        assert source.vector("x") == [({}, 2)]
        assert source.label_values("app", None) == ["productpage", "sleep"]
        assert source.explain("x") == ""
    ranged, instant, *_ = server.queries
    [asked] = ranged["queries"]
    assert (ranged["from"], ranged["to"]) == ("8207900", "10007900")
    assert (asked["intervalMs"], asked["maxDataPoints"], asked["interval"], asked["intervalFactor"]) == (
        15000,
        100,
        "10s",
        2,
    )
    assert instant["queries"][0]["instant"] is True


def test_grafanas_clock_is_prometheus():
    with FakeGrafana({"time()": [frame({}, (5, 1234.5))]}) as server:
        assert GrafanaSource(GrafanaClient(server.url)).now() == 1234.5


def test_a_line_of_nan_has_no_value():
    assert not RangeSamples({}, ((1, math.nan), (2, math.nan))).has_value
    assert not RangeSamples({}, ()).has_value
    assert RangeSamples({}, ((1, math.nan), (2, math.inf))).has_value
