"""A query that found nothing is answered by the nearest series and the label that differs."""

from __future__ import annotations

import pytest

from meshlab.observability.addons.explain import Matcher, explain_miss, first_selector
from tests.fakes.prometheus_server import FakePrometheusClient

SERIES = [
    {
        "__name__": "istio_requests_total",
        "source_app": "sleep",
        "destination_app": "productpage",
        "response_code": "200",
    },
    {"__name__": "istio_requests_total", "source_app": "productpage", "destination_app": "details"},
]


@pytest.mark.parametrize(
    ("promql", "name", "matchers"),
    [
        ("istio_requests_total", "istio_requests_total", ()),
        ("up[5m]", "up", ()),
        ("sum(rate(up[5m])) by (job)", "up", ()),
        ('up{job="a"}', "up", (Matcher("job", "=", "a"),)),
        (
            'rate(up{job!~"a|b{1}", x = "}"}[5m])',
            "up",
            (Matcher("job", "!~", "a|b{1}"), Matcher("x", "=", "}")),
        ),
        ('{__name__="up",job="a"}', "up", (Matcher("job", "=", "a"),)),
        (r'up{path="a\\"b"}'.replace("\\\\", "\\"), "up", (Matcher("path", "=", 'a"b'),)),
    ],
)
def test_selectors_are_read(promql: str, name: str, matchers: tuple[Matcher, ...]):
    found = first_selector(promql)
    assert (found.name, found.matchers) == (name, matchers)


@pytest.mark.parametrize(
    ("op", "value", "holds"),
    [("=", "a", True), ("!=", "a", False), ("=~", "a|b", True), ("!~", "[a-c]", False), ("=~", "ab", False)],
)
def test_matchers_hold_as_in_prometheus(op: str, value: str, holds: bool):
    assert Matcher("x", op, value).holds({"x": "a"}) is holds


def test_an_absent_label_is_empty():
    assert Matcher("x", "=", "").holds({}) and not Matcher("x", "!=", "").holds({})


def test_the_nearest_series_and_the_label_that_differs():
    client = FakePrometheusClient(series=SERIES)
    miss = explain_miss(
        client, 'istio_requests_total{source_app="sleep",destination_app="productpage",response_code="500"}'
    )
    assert (miss.series, dict(miss.differs)) == (2, {'response_code="500"': "200"})
    assert str(SERIES[0]["response_code"]) in str(miss)


def test_a_label_that_no_series_has():
    miss = explain_miss(FakePrometheusClient(series=SERIES[1:]), 'istio_requests_total{response_code="200"}')
    assert (miss.series, dict(miss.differs)) == (1, {'response_code="200"': ""})


def test_a_metric_that_does_not_exist():
    miss = explain_miss(FakePrometheusClient(series=SERIES), "istio_request_total")
    assert miss.series == 0 and miss.names == ("istio_requests_total",)
    assert "istio_requests_total" in str(miss)


def test_a_series_that_came_late():
    miss = explain_miss(FakePrometheusClient(series=SERIES), 'istio_requests_total{source_app="sleep"}')
    assert miss.series == len(SERIES) and not miss.differs
