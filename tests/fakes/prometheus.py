"""A Prometheus whose series are functions of time, scraped at a steady interval. Refuses unknown queries."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from meshlab.checks.rates import extrapolated_rate
from meshlab.observability.addons.explain import first_selector
from meshlab.observability.addons.query import PrometheusClient, RangeSamples, Sample, Target
from tests.fakes.clock import FakeClock

LOOKBACK = 300.0


@dataclass
class FakeSeries:
    """One series. value: of the time it is scraped at, None where it is not there."""

    labels: Mapping[str, str]
    value: Callable[[float], float | None]


@dataclass
class FakePrometheus(PrometheusClient):
    """Stands in for PrometheusClient. Its time is the clock's plus `skew`. answers: query → canned answer."""

    clock: FakeClock
    interval: float = 5.0
    skew: float = 1_000_000.0
    found: list[FakeSeries] = field(default_factory=list)
    scraped: list[Target] = field(default_factory=list)
    answers: dict[str, Callable[[float], list[Sample]]] = field(default_factory=dict)

    def add(self, value: Callable[[float], float | None] | float, **labels: str) -> None:
        """A series of istio_requests_total, unless a name is given as `__name__`."""
        plain = {"__name__": "istio_requests_total", **labels}
        self.found.append(FakeSeries(plain, value if callable(value) else lambda _: float(value)))

    @property
    def time(self) -> float:
        return self.clock.now() + self.skew

    def query(self, promql: str, at: float | None = None) -> list[Sample]:
        moment = self.time if at is None else at
        if promql in self.answers:
            return self.answers[promql](moment)
        if promql == "time()":
            return [Sample({}, moment, moment)]
        if rate := re.fullmatch(r"rate\((.+)\[5m\]\)", promql):
            return self._rates(rate[1], moment)
        if total := re.fullmatch(r"sum by \((\w+)\) \((.+)\)", promql):
            sums: dict[str, float] = defaultdict(float)
            for sample in self.query(total[2], at):
                sums[sample.labels.get(total[1], "")] += sample.value
            return [Sample({total[1]: key}, value, moment) for key, value in sums.items()]
        assert re.fullmatch(r"\w+(\{[^{}]*\})?", promql), f"unknown query {promql}"
        latest = [(s.labels, s.points[-1]) for s in self.range_samples(promql, LOOKBACK, moment) if s.points]
        return [Sample(labels, value, moment) for labels, (_, value) in latest]

    def range_samples(
        self, selector: str, window_seconds: float, at: float | None = None
    ) -> list[RangeSamples]:
        moment = self.time if at is None else at
        answer = []
        for series in self._matching(selector):
            tick = self.skew
            points = []
            while tick <= moment:
                value = series.value(tick - self.skew)
                if tick > moment - window_seconds and value is not None:
                    points.append((tick, value))
                tick += self.interval
            if points:
                answer.append(RangeSamples(series.labels, tuple(points)))
        return answer

    def targets(self) -> list[Target]:
        return list(self.scraped)

    def series(self, selector: str, *, since_seconds: float = 3600) -> list[dict[str, str]]:
        return [dict(series.labels) for series in self._matching(selector)]

    def label_values(self, label: str, selector: str | None = None) -> list[str]:
        return sorted({series.labels.get(label, "") for series in self.found})

    def _matching(self, promql: str) -> list[FakeSeries]:
        wanted = first_selector(promql)
        return [
            series
            for series in self.found
            if series.labels["__name__"] == wanted.name
            and all(m.holds(series.labels) for m in wanted.matchers)
        ]

    def _rates(self, selector: str, moment: float) -> list[Sample]:
        answer = []
        for series in self.range_samples(selector, 300.0, moment):
            rate = extrapolated_rate(series.points, at=moment, range_seconds=300.0)
            labels = {key: value for key, value in series.labels.items() if key != "__name__"}
            if rate is not None:
                answer.append(Sample(labels, rate, moment))
        return answer
