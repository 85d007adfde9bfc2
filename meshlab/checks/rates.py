"""The document's fourth query: the rate that Prometheus computes from raw samples, computed once more.

Source: `extrapolatedRate` in Prometheus's promql/functions.go (v3), for float counters without start
timestamps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from meshlab.checks.base import judged
from meshlab.core.errors import WaitTimeout
from meshlab.core.waiting import Clock, wait
from meshlab.envoy.stats import REQUESTS
from meshlab.observability.addons.explain import explain_miss
from meshlab.observability.addons.query import PrometheusClient, RangeSamples, Sample
from meshlab.observability.addons.scraping import REPORTERS
from meshlab.run.results import CheckResult, Table

CHECK = "prometheus.rate-5m"
RATE_OF = REQUESTS + '{destination_app="productpage"}'
RANGE_SECONDS = 300.0
TOLERANCE = 0.1

# Prometheus extrapolates to the range's boundary when the nearest sample is within this many average
# intervals of it.
EXTRAPOLATION_THRESHOLD = 1.1


def increase(values: Sequence[float]) -> float:
    """How much a counter rose over its samples, resets (a value below the one before) counted from zero."""
    if not values:
        return 0.0
    risen = values[-1] - values[0]
    for before, now in pairwise(values):
        if now < before:
            risen += before
    return risen


def extrapolated_rate(
    samples: Sequence[tuple[float, float]], *, at: float, range_seconds: float
) -> float | None:
    """`rate(counter[range])` evaluated at the time `at`, per second; None where Prometheus gives no answer.

    samples: (time, value) pairs in order of time, both times in seconds since the epoch, as the range
    selector returned them. The rise over the samples is stretched to the borders of the range: all the way
    when the first (or last) sample is within 1.1 average intervals of the border, else by half an
    interval; never so far back that the counter would be below zero.
    """
    if len(samples) < 2:
        return None
    first, last = samples[0], samples[-1]
    risen = increase([value for _, value in samples])
    covered = last[0] - first[0]
    interval = covered / (len(samples) - 1)
    threshold = interval * EXTRAPOLATION_THRESHOLD

    to_start = first[0] - (at - range_seconds)
    if to_start >= threshold:
        to_start = interval / 2
    if risen > 0 and first[1] >= 0:
        to_start = min(to_start, covered * (first[1] / risen))
    to_end = at - last[0]
    if to_end >= threshold:
        to_end = interval / 2

    factor = (covered + to_start + to_end) / covered if covered else 1.0
    return risen * factor / range_seconds


def rate_5m(
    client: PrometheusClient,
    *,
    asked_rate: float,
    reporters: Sequence[str] = REPORTERS,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """Make prometheus.rate-5m: the rate that Prometheus gives is the one that its raw samples give.

    The window need not be full: the expected value is what Prometheus can see, the raw samples of the same
    window at the same time, extrapolated as it does. Samples and rates are read until no scrape came
    between them, then each series is judged once: within 10 %. Evidence: `query`, `at`, `asked_rate`, table
    `series` with answer and expected per second, samples and seconds that they cover.

    Args:
        client: Asks Prometheus.
        asked_rate: Requests per second of the traffic loop, only shown, as sleep's own rate is lower until
            the window is full.
        reporters: Whose side the Prometheus keeps.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        The check.
    """
    reading = _read_consistently(client, reporters, timeout, clock)
    rates = {_key(s.labels): s for s in reading.rates}
    raw = {_key(s.labels): s for s in reading.raw}
    rows: Table = []
    problems: list[str] = []
    for key in sorted({*rates, *raw}):
        labels = (rates.get(key) or raw[key]).labels
        points = raw[key].points if key in raw else ()
        expected = extrapolated_rate(points, at=reading.at, range_seconds=RANGE_SECONDS)
        answer = rates[key].value if key in rates else None
        rows.append(_rate_row(labels, points, answer, expected))
        wrong = _deviation(answer, expected)
        if wrong:
            problems.append(f"{_pair(labels)}: {wrong}")
    for reporter in reporters:
        if not any(r["reporter"] == reporter and r["source"] == "sleep" and r["answer"] for r in rows):
            wanted = RATE_OF.replace("}", f',source_app="sleep",reporter="{reporter}"}}')
            problems.append(f"no rate of sleep's calls ({reporter} reporter): {explain_miss(client, wanted)}")
    own = sum(r["answer"] or 0.0 for r in rows if r["reporter"] == reporters[0] and r["source"] == "sleep")
    covered = max((r["covered_seconds"] for r in rows), default=0.0)
    worst = max((r["deviation"] or 0.0 for r in rows), default=0.0)
    return judged(
        CHECK,
        problems,
        f"{len(rates)} series, sleep {own:.3f}/s over 5 min ({covered:.0f} s scraped, "
        f"asked {asked_rate:.3f}/s), "
        f"largest deviation {worst:.2%}",
        {"query": f"rate({RATE_OF}[5m])", "at": reading.at, "asked_rate": asked_rate, "series": rows},
        remedy="compare the table's samples with the answer; a series that just began has few",
    )


@dataclass(frozen=True)
class _Reading:
    """Rates and raw samples of one evaluation time, and whether the samples were the same before and after."""

    at: float
    rates: tuple[Sample, ...]
    raw: tuple[RangeSamples, ...]
    consistent: bool


def _read_consistently(
    client: PrometheusClient, reporters: Sequence[str], timeout: float, clock: Clock | None
) -> _Reading:
    """Read until sleep's series have two samples on both sides and no scrape came in between the reads.

    After the deadline the last reading is judged, if it is consistent; else WaitTimeout.
    """
    last: list[_Reading] = []

    def read() -> _Reading:
        last.clear()  # a Prometheus that stops answering is not judged by what it said before
        at = client.query("time()")[0].value
        raw = tuple(client.range_samples(RATE_OF, RANGE_SECONDS, at=at))
        rates = tuple(client.query(f"rate({RATE_OF}[5m])", at=at))
        again = tuple(client.range_samples(RATE_OF, RANGE_SECONDS, at=at))
        last.append(_Reading(at, rates, raw, raw == again))
        return last[-1]

    def ready(reading: _Reading) -> bool:
        seen = {
            s.labels.get("reporter")
            for s in reading.raw
            if s.labels.get("source_app") == "sleep" and len(s.points) > 1
        }
        return reading.consistent and set(reporters) <= seen

    try:
        return wait(
            f"two scrapes of sleep's calls by {' and '.join(reporters)}",
            read,
            ready=ready,
            describe=lambda r: f"{len(r.raw)} series, {len(r.rates)} rates",
            timeout=timeout,
            clock=clock,
        )
    except WaitTimeout:
        if not last or not last[-1].consistent:
            raise
        return last[-1]


def _deviation(answer: float | None, expected: float | None) -> str:
    """What is wrong with an answer, empty when nothing is."""
    if answer is None and expected is None:
        return ""
    if answer is None or expected is None:
        return f"Prometheus answers {answer}, its raw samples give {expected}"
    if abs(answer - expected) > TOLERANCE * abs(expected):
        return f"Prometheus answers {answer:.4f}/s, its raw samples give {expected:.4f}/s"
    return ""


def _rate_row(
    labels: Mapping[str, str],
    points: Sequence[tuple[float, float]],
    answer: float | None,
    expected: float | None,
) -> dict[str, Any]:
    apart = abs(answer - expected) / expected if answer is not None and expected else None
    return {
        "reporter": labels.get("reporter", ""),
        "source": labels.get("source_app", ""),
        "destination": labels.get("destination_app", ""),
        "response_code": labels.get("response_code", ""),
        "pod": labels.get("pod", ""),
        "answer": answer,
        "expected": expected,
        "deviation": apart,
        "samples": len(points),
        "covered_seconds": points[-1][0] - points[0][0] if points else 0.0,
        "risen": increase([value for _, value in points]),
    }


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in labels.items() if k != "__name__"))


def _pair(labels: Mapping[str, str]) -> str:
    source, destination = labels.get("source_app", "?"), labels.get("destination_app", "?")
    return (
        f"{source} → {destination} ({labels.get('reporter', '?')}, code {labels.get('response_code', '?')})"
    )
