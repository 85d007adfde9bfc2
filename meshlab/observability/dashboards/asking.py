"""Asks queries in rounds, several at a time, until each has what is wanted of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from meshlab.core.errors import QueryError
from meshlab.core.waiting import Clock
from meshlab.observability.addons.query import RangeSamples
from meshlab.observability.dashboards.expected import Choice, Expectation
from meshlab.observability.dashboards.intervals import intervals
from meshlab.observability.dashboards.model import Dashboard, Panel, Target
from meshlab.observability.dashboards.sources import Query, Source
from meshlab.observability.dashboards.templating import Value, interpolate
from meshlab.observability.dashboards.variables import resolve

WORKERS = 4  # queries under way at a time

Key = tuple[str, str]  # title of a dashboard, name of a choice


@dataclass
class Job:
    """One query under one choice, while it is asked again and again. entry: says that it may be empty.

    problem: why it could not be asked last time. seconds: from the first round to its last answer.
    """

    dashboard: Dashboard
    panel: Panel
    target: Target
    choice: Choice
    entry: Expectation | None = None
    lines: tuple[RangeSamples, ...] = ()
    promql: str = ""
    problem: QueryError | None = None
    asked: bool = False
    seconds: float = 0.0

    @property
    def key(self) -> Key:
        """Whose variables it uses."""
        return self.dashboard.title, self.choice.name

    @property
    def done(self) -> bool:
        """Nothing is awaited any more: it has data, may be empty and was asked, or can't heal."""
        if self.problem is not None:
            return not self.problem.retryable
        return self.asked and (self.entry is not None or any(line.has_value for line in self.lines))


class Asking:
    """Rounds of asking one source.

    values: whose variables → what they were set to last. scrape_seconds: the datasource's interval, as Grafana is told.
    finest: seconds between points that are enough, where Grafana would take longer steps.
    """

    def __init__(
        self,
        source: Source,
        scrape_seconds: float,
        clock: Clock,
        deadline: float,
        finest: float | None = None,
    ) -> None:
        self.source = source
        self.values: dict[Key, dict[str, Value]] = {}
        self._scrape, self._finest = scrape_seconds, finest
        self._clock, self._start, self._deadline = clock, clock.now(), deadline
        self._unset: dict[Key, QueryError] = {}
        self._silent = threading.Event()

    def round(self, jobs: Sequence[Job]) -> list[Job]:
        """Ask every job that is not done; returns those that are not done then.

        Raises QueryError when the source does not answer at all.
        """
        end = self.source.now()
        self._silent.clear()
        left = [job for job in jobs if not job.done]
        # Each time anew, as when a reader reloads the page: the lists grow with what was counted.
        for job in {job.key: job for job in left}.values():
            self._set_variables(job)
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda job: self._ask(job, end), left))
        return [job for job in jobs if not job.done]

    def check_asked(self, jobs: Sequence[Job]) -> None:
        """Raise a QueryError where queries could not be asked until the deadline: nothing can be told then."""
        self.source.now()
        unset = [id(problem) for problem in self._unset.values()]
        lost = [job.problem for job in jobs if job.problem is not None and job.problem.retryable]
        lost = [problem for problem in lost if id(problem) not in unset]
        if lost:
            raise QueryError(
                f"{len(lost)} of {len(jobs)} queries could not be asked: {lost[0].message}",
                remedy=lost[0].remedy,
            )
        never = sum(not job.asked and job.problem is None for job in jobs)
        if never:
            raise QueryError(
                f"{never} of {len(jobs)} queries were not asked in time: {self.source.name} is too slow",
                remedy="give it more time, or look at what keeps it busy",
            )

    def _set_variables(self, job: Job) -> None:
        try:
            self.values[job.key] = resolve(job.dashboard, self.source, job.choice.variables)
            self._unset.pop(job.key, None)
        except QueryError as problem:
            self._unset[job.key] = problem

    def _ask(self, job: Job, end: float) -> None:
        """Ask one query, unless the source fell silent in this round, or time is over."""
        if job.key in self._unset:
            job.problem = self._unset[job.key]
            return
        if self._silent.is_set() or self._clock.now() >= self._deadline:
            return
        steps = intervals(job.panel, job.target, job.dashboard.seconds, self._scrape)
        if self._finest is not None:
            steps = replace(steps, step=min(steps.step, self._finest))
        query = Query(job.target, interpolate(job.target.expr, self.values[job.key]), steps, end)
        job.promql, job.problem = query.promql, None
        try:
            job.lines, job.asked = self.source.ask(query), True
            job.seconds = self._clock.now() - self._start
        except QueryError as problem:
            job.problem = problem
            if problem.retryable:
                self._silent.set()
