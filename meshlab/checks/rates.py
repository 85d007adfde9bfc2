"""The rate that Prometheus computes from raw samples, computed once more to check its answer.

Source: `extrapolatedRate` in Prometheus's promql/functions.go (v3), for float counters without start
timestamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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
