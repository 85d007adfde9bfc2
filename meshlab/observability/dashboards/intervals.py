"""Steps and the interval variables, as Grafana computes them.

Source: Grafana's interval calculator (pkg/tsdb/intervalv2) and Prometheus query model
(pkg/promlib/models/query.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshlab.core.errors import IstioError
from meshlab.observability.dashboards.model import Panel, Target

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")
SAFE_POINTS = 11_000  # Prometheus refuses more for one series
SCREEN = 1440  # CSS pixels that the 24 columns of a dashboard are taken to have
# (below so many seconds, becomes so many): Grafana's round steps.
ROUND = (
    (0.01, 0.001), (0.015, 0.01), (0.035, 0.02), (0.075, 0.05), (0.15, 0.1), (0.35, 0.2), (0.75, 0.5),
    (1.5, 1), (3.5, 2), (7.5, 5), (12.5, 10), (17.5, 15), (25, 20), (45, 30), (90, 60), (210, 120),
    (450, 300), (750, 600), (1050, 900), (1500, 1200), (2700, 1800), (5400, 3600), (9000, 7200),
    (16200, 10800), (32400, 21600), (86400, 43200), (604800, 86400), (1814400, 604800), (3628800, 2592000),
)  # fmt: skip


@dataclass(frozen=True)
class Intervals:
    """The intervals of one query, in seconds.

    step: between its points. interval: `$__interval`. rate: `$__rate_interval`.
    range_seconds: `$__range`. points: how many a series may have.
    """

    step: float
    interval: float
    rate: float
    range_seconds: float
    points: int

    def values(self) -> dict[str, str]:
        """The built-in variables → what stands for them in a query."""
        return {
            "__interval": text(self.step),
            "__interval_ms": str(round(self.step * 1000)),
            "__rate_interval": text(self.rate),
            "__rate_interval_ms": str(round(self.rate * 1000)),
            "__range": text(self.range_seconds),
            "__range_s": str(round(self.range_seconds)),
            "__range_ms": str(round(self.range_seconds * 1000)),
        }


def intervals(panel: Panel, target: Target, range_seconds: float, scrape_seconds: float) -> Intervals:
    """The steps of a query of a panel that shows `range_seconds`.

    scrape_seconds: the datasource's interval. The least step is the target's own, else the panel's, else the
    datasource's; the rate interval is at least four scrapes, so that a rate always has samples.
    """
    points = panel.points or max(1, panel.grid[2] * SCREEN // 24)
    least = seconds(panel.interval) if panel.interval else scrape_seconds
    interval = max(rounded(range_seconds / points), least)
    own = seconds(target.interval) if target.interval else 0.0
    calculated = range_seconds / points
    wanted = own or interval
    step = wanted if calculated < wanted else rounded(calculated)
    step = max(step, rounded(range_seconds / SAFE_POINTS)) * target.factor
    scrape = own or scrape_seconds
    return Intervals(step, interval, max(interval + scrape, 4 * scrape), range_seconds, points)


def rounded(value: float) -> float:
    """A step of so many seconds, as Grafana rounds it."""
    return next((becomes for below, becomes in ROUND if value < below), 31536000)


def seconds(duration: str) -> float:
    """`30m`, `1h30m`, `15s`, also with a leading `>`, in seconds. Raises IstioError for anything else."""
    parts = DURATION.findall(duration.lstrip(">"))
    if not parts or "".join(number + unit for number, unit in parts) != duration.lstrip(">").strip():
        raise IstioError(f"{duration!r} is no duration of Grafana's", remedy="correct it in the dashboard")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def text(value: float) -> str:
    """Seconds as PromQL writes them: 1m0s, 15s, 500ms."""
    millis = round(value * 1000)
    minutes, rest = divmod(millis, 60_000)
    whole, odd = divmod(rest, 1000)
    if odd:
        return f"{millis}ms"
    return f"{minutes}m{whole}s" if minutes else f"{whole}s"
