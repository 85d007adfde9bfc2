"""What an examination found: one result for each query and choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshlab.observability.addons.query import RangeSamples
from meshlab.observability.dashboards.expected import Choice, Expectation
from meshlab.observability.dashboards.model import Dashboard, Panel, Target
from meshlab.observability.dashboards.prove import Proof
from meshlab.observability.dashboards.templating import Value
from meshlab.report.material import Classification

# What is told of a query that was asked under several choices: what went wrong goes before everything.
RANK: Mapping[Classification, int] = {"error": 0, "unexpected-empty": 1, "data": 2, "expected-empty": 3}


@dataclass(frozen=True)
class Result:
    """What became of one query under one choice.

    promql: as it was executed. lines: the series that it found. reason: why it is empty or failed, "" where
    it has data. seconds: from the start of the examination until it had data. proof: that the reason for its
    emptiness holds.
    """

    dashboard: Dashboard
    panel: Panel
    target: Target
    choice: Choice
    classification: Classification
    promql: str = ""
    lines: tuple[RangeSamples, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    proof: Proof | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """Names the query: dashboard, panel, refId."""
        return self.dashboard.title, self.panel.id, self.target.ref

    @property
    def series(self) -> int:
        """How many series it found that have a value."""
        return sum(line.has_value for line in self.lines)


@dataclass(frozen=True)
class Examination:
    """The results. source: who was asked. values: (dashboard, choice) → its variables.

    results: each query under the first choice of its dashboard, and again under the choice that fills it
    where the first one can't. stale: entries of the list whose query does not exist.
    scrape_seconds: as Grafana would be told. seconds: of all of it.
    """

    source: str
    dashboards: tuple[Dashboard, ...]
    results: tuple[Result, ...]
    values: Mapping[tuple[str, str], Mapping[str, Value]] = field(default_factory=dict)
    stale: tuple[Expectation, ...] = ()
    scrape_seconds: float = 15.0
    seconds: float = 0.0

    def of(self, title: str, choice: str | None = None) -> list[Result]:
        """Find a dashboard's results under a choice.

        Args:
            title: The dashboard's.
            choice: The choice's name; the first where None.

        Returns:
            The results.
        """
        mine = [each for each in self.results if each.dashboard.title == title]
        name = choice if choice is not None else (mine[0].choice.name if mine else "")
        return [each for each in mine if each.choice.name == name]

    def best(self) -> list[Result]:
        """One result for each query: with data if any choice gave some, unless something went wrong."""
        found: dict[tuple[str, int, str], Result] = {}
        for each in self.results:
            known = found.get(each.key)
            if known is None or RANK[each.classification] < RANK[known.classification]:
                found[each.key] = each
        return list(found.values())
