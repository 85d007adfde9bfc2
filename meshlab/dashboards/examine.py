"""Executes every query of the dashboards, waits for those that must have data, and classifies each.

The load must flow before and while this runs: most panels show rates.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from meshlab.dashboards.expected import Choice, Expectation, Expectations
from meshlab.dashboards.intervals import intervals
from meshlab.dashboards.model import Dashboard, Panel, Target
from meshlab.dashboards.prove import Proof, Prover
from meshlab.dashboards.sources import Line, Query, Source
from meshlab.dashboards.templating import Value, interpolate
from meshlab.dashboards.variables import resolve
from meshlab.errors import QueryError, WaitTimeout
from meshlab.report.material import Classification
from meshlab.waiting import Clock, SystemClock, wait

WORKERS = 4  # queries under way at a time
EXPLAINED = 8  # empty queries for which the nearest series is looked up: it takes a while


@dataclass(frozen=True)
class Result:
    """What became of one query under one choice.

    promql: as it was executed. series: how many it found. reason: why it is empty or failed, "" where it has
    data. seconds: from the start of the examination until it had data. proof: of the reason for its emptiness.
    """

    dashboard: Dashboard
    panel: Panel
    target: Target
    choice: Choice
    classification: Classification
    promql: str = ""
    lines: tuple[Line, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    proof: Proof | None = None

    @property
    def series(self) -> int:
        """How many series it found that have a value."""
        return sum(line.has_value for line in self.lines)


@dataclass(frozen=True)
class Examination:
    """The results. source: who was asked. values: (dashboard, choice) → its variables.

    results: each query under the first choice of its dashboard, and again under the next one that can fill it
    where the first can't. stale: entries of the list whose query does not exist. seconds: of all of it.
    """

    source: str
    dashboards: tuple[Dashboard, ...]
    results: tuple[Result, ...]
    values: Mapping[tuple[str, str], Mapping[str, Value]] = field(default_factory=dict)
    stale: tuple[Expectation, ...] = ()
    seconds: float = 0.0

    def of(self, title: str, choice: str | None = None) -> list[Result]:
        """A dashboard's results under a choice, by default its first."""
        mine = [each for each in self.results if each.dashboard.title == title]
        name = choice if choice is not None else (mine[0].choice.name if mine else "")
        return [each for each in mine if each.choice.name == name]

    def best(self) -> list[Result]:
        """One result for each query: with data if any choice gave some; what went wrong goes before everything."""
        rank = {"error": 0, "unexpected-empty": 1, "data": 2, "expected-empty": 3}
        found: dict[tuple[str, int, str], Result] = {}
        for each in self.results:
            key = (each.dashboard.title, each.panel.id, each.target.ref)
            if key not in found or rank[each.classification] < rank[found[key].classification]:
                found[key] = each
        return list(found.values())


@dataclass
class _Job:
    """One query under one choice, while it is asked again and again."""

    dashboard: Dashboard
    panel: Panel
    target: Target
    choice: Choice
    entry: Expectation | None
    lines: tuple[Line, ...] = ()
    promql: str = ""
    problem: QueryError | None = None
    asked: bool = False
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """Nothing is awaited any more: it has data, may be empty and was asked, or can't heal."""
        if self.problem is not None:
            return not self.problem.retryable
        return self.asked and (self.entry is not None or any(line.has_value for line in self.lines))


def examine(
    source: Source,
    dashboards: Sequence[Dashboard],
    expectations: Expectations,
    *,
    scrape_seconds: float,
    timeout: float,
    range_seconds: float | None = None,
    delay: float = 1.0,
    clock: Clock | None = None,
) -> Examination:
    """Ask all queries of all dashboards, and again those without data until they have some or time is over.

    scrape_seconds: what Grafana would take as the datasource's scrape interval. timeout: seconds for all of it.
    range_seconds: the time range shown, by default what each dashboard opens with. Raises QueryError when the
    source can't be asked (nothing is judged then), IstioError for a dashboard that can't be understood.
    """
    clock = clock or SystemClock()
    start = clock.now()
    asking = _Asking(source, expectations, scrape_seconds, range_seconds, clock, start + timeout)
    jobs = list(_jobs(dashboards, expectations))
    try:
        wait(
            "data for every query that must have some",
            lambda: asking.round(jobs),
            ready=lambda left: not left,
            describe=lambda left: f"{len(left)} of {len(jobs)} without data",
            timeout=timeout,
            delay=delay,
            clock=clock,
        )
    except WaitTimeout:
        asking.raise_unless_asked(jobs)
    prover = Prover(source)
    explained = iter(range(EXPLAINED))
    results = tuple(_judge(job, asking, prover, explained) for job in jobs)
    return Examination(
        source.name,
        tuple(dashboards),
        results,
        asking.values,
        tuple(expectations.unknown(dashboards)),
        clock.now() - start,
    )


def _jobs(dashboards: Sequence[Dashboard], expectations: Expectations) -> Iterable[_Job]:
    """Each query under its dashboard's first choice; and where an entry says that another choice fills it, under
    that one, too."""
    for dashboard in dashboards:
        first, *others = expectations.choices_of(dashboard)
        for panel, target in dashboard.targets():
            entry = expectations.find(dashboard, panel, target, first)
            yield _Job(dashboard, panel, target, first, entry)
            if entry is not None and entry.filled_by:
                other = next(each for each in others if each.name == entry.filled_by)
                yield _Job(dashboard, panel, target, other, None)


class _Asking:
    """Rounds of asking. values: (dashboard, choice) → the variables, once they could be set."""

    def __init__(
        self,
        source: Source,
        expectations: Expectations,
        scrape_seconds: float,
        range_seconds: float | None,
        clock: Clock,
        deadline: float,
    ) -> None:
        self.source, self.values = source, dict[tuple[str, str], dict[str, Value]]()
        self._scrape, self._range = scrape_seconds, range_seconds
        self._clock, self._start, self._deadline = clock, clock.now(), deadline
        self._unset: dict[tuple[str, str], QueryError] = {}
        self._cut = threading.Event()

    def round(self, jobs: Sequence[_Job]) -> list[_Job]:
        """Ask every job that is not done; returns those that are not done then. Raises QueryError when the source
        does not answer at all."""
        end = self.source.now()
        self._cut.clear()
        left = [job for job in jobs if not job.done]
        # Each time anew, as when a reader reloads the page: the lists grow with what was counted.
        for job in {(job.dashboard.title, job.choice.name): job for job in left}.values():
            self._set_variables(job.dashboard, job.choice)
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda job: self._ask(job, end), left))
        return [job for job in jobs if not job.done]

    def raise_unless_asked(self, jobs: Sequence[_Job]) -> None:
        """After the deadline: a QueryError when the source went away, because nothing can be told then."""
        self.source.now()
        lost = [job.problem for job in jobs if job.problem is not None and job.problem.retryable]
        lost = [problem for problem in lost if problem not in self._unset.values()]
        if lost:
            raise QueryError(
                f"{len(lost)} of {len(jobs)} queries could not be asked: {lost[0].message}", remedy=lost[0].remedy
            )
        never = sum(not job.asked and job.problem is None for job in jobs)
        if never:
            raise QueryError(
                f"{never} of {len(jobs)} queries were not asked in time: {self.source.name} is too slow",
                remedy="give it more time, or look at what keeps it busy",
            )

    def _set_variables(self, dashboard: Dashboard, choice: Choice) -> None:
        key = (dashboard.title, choice.name)
        try:
            self.values[key] = resolve(dashboard, self.source, choice.variables)
            self._unset.pop(key, None)
        except QueryError as problem:
            self._unset[key] = problem

    def _ask(self, job: _Job, end: float) -> None:
        key = (job.dashboard.title, job.choice.name)
        if key in self._unset:
            job.problem = self._unset[key]
            return
        if self._cut.is_set() or (job.asked and self._clock.now() >= self._deadline):
            return
        range_seconds = self._range or job.dashboard.seconds
        steps = intervals(job.panel, job.target, range_seconds, self._scrape)
        query = Query(job.target, interpolate(job.target.expr, self.values[key]), steps, end)
        job.promql, job.problem = query.promql, None
        try:
            job.lines, job.asked = self.source.ask(query), True
            job.seconds = self._clock.now() - self._start
        except QueryError as problem:
            job.problem = problem
            if problem.retryable:
                self._cut.set()  # it does not answer: the next round asks first whether it does


def _judge(job: _Job, asking: _Asking, prover: Prover, explained: Any) -> Result:
    known = (job.dashboard, job.panel, job.target, job.choice)
    if job.problem is not None:
        kind: Classification = "unexpected-empty" if job.problem.retryable else "error"
        return Result(*known, kind, job.promql, reason=job.problem.message)
    result = Result(*known, "data", job.promql, job.lines, seconds=job.seconds)
    entry = job.entry
    if result.series and (entry is None or entry.optional):
        return result
    if entry is None:
        return replace(result, classification="unexpected-empty", reason=_why(job, asking.source, explained))
    proof = prover.prove(entry.precondition, asking.values[job.dashboard.title, job.choice.name])
    if result.series:
        reason = f"it has data, and the list says that it can't: {entry.precondition.why}"
        return replace(result, classification="unexpected-empty", reason=reason, proof=proof)
    if not proof.holds:
        return replace(result, classification="unexpected-empty", reason=proof.text, proof=proof)
    return replace(result, classification="expected-empty", reason=entry.precondition.why, proof=proof)


def _why(job: _Job, source: Source, explained: Any) -> str:
    if job.lines:
        return f"{len(job.lines)} series, but NaN is their only value: there was nothing to divide by"
    if next(explained, None) is None:
        return "no series"
    try:
        return source.explain(job.promql) or "no series"
    except QueryError as problem:
        return f"no series; why can't be told: {problem.message}"
