"""A source of dashboards' data that answers from a table, and small dashboards to ask it about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshlab.core.errors import QueryError
from meshlab.observability.addons.query import RangeSamples
from meshlab.observability.dashboards.sources import Query
from tests.fakes.clock import FakeClock

Found = Sequence[tuple[Mapping[str, str], float]]


class FakeSource:
    """Stands in for a Source.

    answers: PromQL → series, or a function of the time that gives them or raises; a query that is not among
    them is an AssertionError.

    Its time is the clock's plus 1000. asked: each query, in order.
    """

    name = "a fake"

    def __init__(self, answers: Mapping[str, Found | Callable[[float], Found]], clock: FakeClock) -> None:
        self.answers, self.clock = dict(answers), clock
        self.asked: list[str] = []
        self.queries: list[Query] = []
        self.gone: Callable[[float], bool] = lambda now: False
        self._lock = threading.Lock()

    def now(self) -> float:
        if self.gone(self.clock.now()):
            raise QueryError("nobody answers", remedy="look at its pod")
        return self.clock.now() + 1000

    def ask(self, query: Query) -> tuple[RangeSamples, ...]:
        with self._lock:
            self.queries.append(query)
        return tuple(
            RangeSamples(labels, ((query.end, value),)) for labels, value in self.vector(query.promql)
        )

    def vector(self, promql: str) -> Found:
        with self._lock:
            self.asked.append(promql)
        assert promql in self.answers, f"unknown query {promql!r}"
        if self.gone(self.clock.now()):
            raise QueryError("nobody answers", remedy="look at its pod")
        answer = self.answers[promql]
        return answer(self.clock.now()) if callable(answer) else answer

    def label_values(self, label: str, selector: str | None) -> list[str]:
        return [labels[label] for labels, _ in self.vector(f"{selector or ''} {label}".strip())]

    def explain(self, promql: str) -> str:
        return f"nothing is like {promql}"


def json_panel(number: int, *exprs: str, kind: str = "timeseries", **more: Any) -> dict[str, Any]:
    """A panel with queries A, B, … as JSON."""
    targets = [{"refId": chr(65 + index), "expr": expr} for index, expr in enumerate(exprs)]
    return {"id": number, "type": kind, "title": f"Panel {number}", "targets": targets, **more}


def json_dashboard(*panels: Mapping[str, Any], title: str = "A Dashboard", **more: Any) -> dict[str, Any]:
    """A dashboard as JSON, opened with its last half hour."""
    return {"title": title, "panels": list(panels), "time": {"from": "now-30m", "to": "now"}, **more}


def json_variable(name: str, query: str, **more: Any) -> dict[str, Any]:
    """A template variable as JSON."""
    return {"name": name, "type": "query", "query": query, **more}
