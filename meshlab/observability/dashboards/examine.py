"""Executes every query of the dashboards, waits for those that must have data, and classifies each.

The load must flow before and while this runs: most panels show rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from meshlab.core.errors import QueryError, WaitTimeout
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.observability.addons.scraping import REPORTERS
from meshlab.observability.dashboards.asking import Asking, Job
from meshlab.observability.dashboards.expected import Expectations
from meshlab.observability.dashboards.model import Dashboard
from meshlab.observability.dashboards.one_sided import excuse
from meshlab.observability.dashboards.prove import Prover
from meshlab.observability.dashboards.results import Examination, Result
from meshlab.observability.dashboards.sources import Source
from meshlab.report.material import Classification

DRAWN_WITHIN, DRAWN_STEP = 30.0, 5.0  # seconds: for asking again, and between the points of what is drawn
EXPLAINED = 8  # empty queries for which the nearest series is looked up: it takes a while


def examine(
    source: Source,
    dashboards: Sequence[Dashboard],
    expectations: Expectations,
    *,
    scrape_seconds: float,
    timeout: float,
    reporters: Sequence[str] = REPORTERS,
    clock: Clock | None = None,
) -> Examination:
    """Ask all queries of all dashboards, and again those without data until they have some or time is over.

    Args:
        source: Whom to ask.
        dashboards: The dashboards.
        expectations: Which queries may be empty, and why.
        scrape_seconds: What Grafana would take as the datasource's scrape interval.
        timeout: Seconds for all of it.
        reporters: Whose side of a request the Prometheus keeps.
        clock: Of the wait; the real one where not given.

    Returns:
        What became of each query.

    Raises:
        QueryError: The source can't be asked: nothing is judged then.
        IstioError: A dashboard can't be understood.
    """
    clock = clock or SystemClock()
    start = clock.now()
    asking = Asking(source, scrape_seconds, clock, start + timeout)
    jobs = list(_jobs(dashboards, expectations))
    prover = Prover(source)

    def left() -> list[Job]:
        asking.round(jobs)
        excuse(jobs, reporters)
        return [job for job in jobs if not job.done]

    def answered() -> None:
        try:
            wait(
                "data for every query that must have some",
                left,
                ready=lambda those: not those,
                describe=lambda those: f"{len(those)} of {len(jobs)} without data",
                timeout=max(start + timeout - clock.now(), 0.0),
                delay=1.0,
                clock=clock,
            )
        except WaitTimeout:
            asking.check_asked(jobs)

    answered()
    if _excused_for_nothing(jobs, asking, prover):
        answered()
    judge = _Judge(asking, prover)
    results = tuple(judge(job) for job in jobs)
    stale = tuple(expectations.unknown(dashboards))
    return Examination(
        source.name,
        tuple(dashboards),
        results,
        asking.values,
        stale,
        scrape_seconds,
        clock.now() - start,
    )


def drawn_again(
    examination: Examination,
    source: Source,
    *,
    clock: Clock | None = None,
) -> Examination:
    """Ask the same examination again with the data of now: longer and finer lines to draw.

    No class changes.

    Args:
        examination: What was examined.
        source: Whom to ask.
        clock: Of the wait; the real one where not given.

    Returns:
        It, with new data.

    Raises:
        QueryError: The source can't be asked.
    """
    clock = clock or SystemClock()
    # Rate intervals stay what they are: they hang on the scrape interval, hardly on the range.
    asking = Asking(source, examination.scrape_seconds, clock, clock.now() + DRAWN_WITHIN, DRAWN_STEP)
    with_data = [each for each in examination.results if each.classification == "data"]
    jobs = {id(each): Job(each.dashboard, each.panel, each.target, each.choice) for each in with_data}
    asking.round(list(jobs.values()))
    results = []
    for each in examination.results:
        job = jobs.get(id(each))
        fresh = job is not None and any(line.has_value for line in job.lines)
        results.append(replace(each, lines=job.lines, promql=job.promql) if job and fresh else each)
    return replace(examination, results=tuple(results), values={**examination.values, **asking.values})


def look(
    source: Source,
    dashboard: Dashboard,
    expectations: Expectations,
    *,
    scrape_seconds: float,
    clock: Clock | None = None,
) -> Examination:
    """Ask every query of one dashboard once, as a reader does who opens it. Nothing is awaited, nothing judged.

    Args:
        source: Whom to ask.
        dashboard: The dashboard.
        expectations: Its variables' values, and which queries may be empty, and why.
        scrape_seconds: What Grafana would take as the datasource's scrape interval.
        clock: Of the time it may take; the real one where not given.

    Returns:
        What each query answered under the dashboard's first choice.

    Raises:
        QueryError: The source can't be asked.
    """
    clock = clock or SystemClock()
    start = clock.now()
    asking = Asking(source, scrape_seconds, clock, start + DRAWN_WITHIN, DRAWN_STEP)
    first = expectations.choices_of(dashboard)[0]
    jobs = [
        Job(dashboard, panel, target, first, expectations.find(dashboard, panel, target, first))
        for panel, target in dashboard.targets()
    ]
    asking.round(jobs)
    results = tuple(_seen(job) for job in jobs)
    return Examination(
        source.name, (dashboard,), results, asking.values, (), scrape_seconds, clock.now() - start
    )


def _seen(job: Job) -> Result:
    found = Result(job.dashboard, job.panel, job.target, job.choice, "data", job.promql, job.lines)
    if job.problem is not None:
        return replace(found, classification="error", reason=job.problem.message, lines=())
    if not job.asked:
        return replace(found, classification="error", reason="it was not asked in time")
    if any(line.has_value for line in job.lines):
        return found
    if job.entry is not None:
        return replace(found, classification="expected-empty", reason=job.entry.precondition.why)
    return replace(found, classification="unexpected-empty", reason="no series now")


def _jobs(dashboards: Sequence[Dashboard], expectations: Expectations) -> Iterator[Job]:
    """Yield each query under its dashboard's first choice.

    Where an entry says that another choice fills it, the query comes under that one, too.
    """
    for dashboard in dashboards:
        first, *others = expectations.choices_of(dashboard)
        for panel, target in dashboard.targets():
            entry = expectations.find(dashboard, panel, target, first)
            yield Job(dashboard, panel, target, first, entry)
            if entry is not None and entry.filled_by:
                other = next(each for each in others if each.name == entry.filled_by)
                yield Job(dashboard, panel, target, other)


def _excused_for_nothing(jobs: Sequence[Job], asking: Asking, prover: Prover) -> bool:
    """Tell whether queries were excused though their precondition does not hold.

    That is so when a Prometheus that has just been restarted comes to count it. Such queries lose their entry here, and
    must have data as any other.
    """
    found = False
    for job in jobs:
        entry = job.entry
        empty = job.problem is None and job.asked and not any(line.has_value for line in job.lines)
        if entry is None or not entry.optional or not empty:
            continue
        if prover.prove(entry.precondition, asking.values[job.key]).found:
            job.entry, found = None, True
    return found


class _Judge:
    """Classifies a job once asking has ended."""

    def __init__(self, asking: Asking, prover: Prover) -> None:
        self._asking, self._prover = asking, prover
        self._explained = 0

    def __call__(self, job: Job) -> Result:
        result = Result(job.dashboard, job.panel, job.target, job.choice, "data", job.promql, job.lines)
        if job.problem is not None:
            # Only a choice that its list does not offer is left of what may heal.
            kind: Classification = "unexpected-empty" if job.problem.retryable else "error"
            return replace(result, classification=kind, reason=job.problem.message, lines=())
        entry = job.entry
        if result.series and (entry is None or entry.optional):
            return replace(result, seconds=job.seconds)
        if entry is None:
            return replace(result, classification="unexpected-empty", reason=self._why(job))
        proof = self._prover.prove(entry.precondition, self._asking.values[job.key])
        if result.series:
            found = f"{result.series} series, which the list rules out"
            told = f"{found}: {entry.precondition.why}; {proof.text}"
            return replace(result, classification="unexpected-empty", reason=told, proof=proof)
        if not proof.holds:
            return replace(result, classification="unexpected-empty", reason=proof.text, proof=proof)
        return replace(result, classification="expected-empty", reason=entry.precondition.why, proof=proof)

    def _why(self, job: Job) -> str:
        if job.lines:
            return f"{len(job.lines)} series with NaN as their only value: there was nothing to divide by"
        self._explained += 1
        if self._explained > EXPLAINED:
            return "no series"
        try:
            return self._asking.source.explain(job.promql) or "no series"
        except QueryError as problem:
            return f"no series; why can't be told: {problem.message}"
