"""How much time a dashboard shows: relative, rounded and absolute times, as Grafana reads them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from meshlab.core.errors import IstioError
from meshlab.observability.dashboards.read import dashboard
from meshlab.observability.dashboards.timerange import shown_seconds
from tests.fakes.dashboards import json_dashboard, json_panel

NOW = datetime(2026, 3, 31, 6, 30, tzinfo=UTC)  # a Tuesday
HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("begin", "end", "seconds"),
    [
        ("now-5m", "now", 300),
        ("now-6h", "now", 6 * HOUR),
        ("now - 6h", "now", 6 * HOUR),
        ("now-7d/d", "now", 7 * DAY + 6.5 * HOUR),
        ("now/d", "now/d", DAY),
        ("now/w", "now", 2 * DAY + 6.5 * HOUR),
        ("now-1M/M", "now-1M/M", 28 * DAY),
        ("now-1M", "now", 31 * DAY),  # 28 February, the month's last day
        ("now-1y", "now", 365 * DAY),
        ("now-1h/h", "now/h", 2 * HOUR),
        ("now-1d+6h", "now", 18 * HOUR),
        ("now-15m", "now-5m", 600),
        # absolute, as Istio 1.9 and 1.12 ship some
        ("2020-12-11T10:33:27.123Z", "2020-12-11T10:48:27.123Z", 900),
        ("2020-12-11 10:33:27", "2020-12-11 10:48:27", 900),
        ("2026-03-31T05:30:00.000Z", "now", HOUR),
        ("1607682807123", "1607683707123", 900),
        (1607682807123, 1607683707123, 900),
        (None, None, 6 * HOUR),
        ("", None, 6 * HOUR),
    ],
)
def test_as_grafana_reads_them(begin, end, seconds):
    assert shown_seconds({"from": begin, "to": end}, now=NOW) == seconds


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("yesterday", "now"),
        ("now-", "now"),
        ("now-5", "now"),
        ("now-5x", "now"),
        ("now", "now-1h"),
        ("now-9999y", "now"),
    ],
)
def test_what_is_no_time(begin, end):
    with pytest.raises(IstioError) as caught:
        shown_seconds({"from": begin, "to": end}, now=NOW)
    assert caught.value.remedy


def test_a_dashboard_that_was_saved_with_absolute_times_is_read():
    document = json_dashboard(json_panel(1, "up"))
    document["time"] = {"from": "2020-12-11T10:33:27.123Z", "to": "2020-12-11T10:48:27.123Z"}
    assert dashboard(document).seconds == 900
    document["time"] = {"from": "now-7d/d", "to": "now"}
    assert 7 * DAY <= dashboard(document).seconds <= 8 * DAY
