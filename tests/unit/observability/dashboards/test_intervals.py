"""Steps and rate intervals against what Grafana computes for the same panel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab.core.errors import IstioError
from meshlab.observability.dashboards.intervals import ROUND, SAFE_POINTS, intervals, rounded, seconds, text
from meshlab.observability.dashboards.model import Panel, Target

HALF_HOUR = 1800.0


def panel(width: int = 12, **options) -> Panel:
    return Panel(1, "p", "timeseries", grid=(0, 0, width, 8), **options)


@pytest.mark.parametrize(
    ("shown", "range_seconds", "step", "rate"),
    [
        # 720 points: 2.5 s, so the datasource's 15 s hold
        ((panel(), Target("A", "x")), HALF_HOUR, 15, 60),
        # the panel's own least interval
        ((panel(interval="5s"), Target("A", "x")), HALF_HOUR, 5, 60),
        # a minute and a scrape are more than four scrapes
        ((panel(interval="1m"), Target("A", "x")), HALF_HOUR, 60, 75),
        # 100 points: 18 s, a round 20 s
        ((panel(points=100), Target("A", "x")), HALF_HOUR, 20, 60),
        ((panel(points=100), Target("A", "x")), 900, 15, 60),
        # the factor makes the step longer, not the rate interval
        ((panel(), Target("A", "x", factor=2)), HALF_HOUR, 30, 60),
        # the query's own least step
        ((panel(), Target("A", "x", interval="30s")), HALF_HOUR, 30, 120),
        ((panel(), Target("A", "x")), 7 * 86400, 900, 915),
    ],
)
def test_as_grafana_computes_them(shown, range_seconds, step, rate):
    found = intervals(*shown, range_seconds, 15)
    assert (found.step, found.rate) == (step, rate)


def test_the_variables():
    values = intervals(panel(), Target("A", "x"), HALF_HOUR, 15).values()
    assert values == {
        "__interval": "15s",
        "__interval_ms": "15000",
        "__rate_interval": "1m0s",
        "__rate_interval_ms": "60000",
        "__range": "30m0s",
        "__range_s": "1800",
        "__range_ms": "1800000",
    }


@given(st.floats(1, 10**7), st.integers(1, 24), st.sampled_from([5.0, 15.0, 60.0]))
def test_no_series_gets_more_points_than_prometheus_gives(range_seconds, width, scrape):
    found = intervals(panel(width), Target("A", "x"), range_seconds, scrape)
    assert range_seconds / found.step <= SAFE_POINTS * 1.5
    assert found.rate >= 4 * scrape and found.step >= scrape


def test_round_steps_rise():
    assert [below for below, _ in ROUND] == sorted(below for below, _ in ROUND)
    assert [becomes for _, becomes in ROUND] == sorted(becomes for _, becomes in ROUND)
    assert (rounded(0.001), rounded(18), rounded(10**8)) == (0.001, 20, 31536000)


@pytest.mark.parametrize(
    ("written", "value"), [("15s", 15), (">5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("2d", 172800)]
)
def test_durations_are_read(written, value):
    assert seconds(written) == value


@pytest.mark.parametrize("written", ["", "15", "fast", "5m later", "-1h", "now-1h/h"])
def test_what_is_no_duration(written):
    with pytest.raises(IstioError, match="no duration"):
        seconds(written)


@pytest.mark.parametrize(("value", "written"), [(15, "15s"), (60, "1m0s"), (75, "1m15s"), (0.5, "500ms")])
def test_durations_are_written_as_promql_reads_them(value, written):
    assert text(value) == written
    assert seconds(written) == value
