"""Latency statistics of a list of requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Milliseconds. Percentiles are nearest-rank: each is the time of a request that was really made."""

    p50: float
    p90: float
    p99: float
    mean: float
    maximum: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Give a percentile by the nearest-rank method.

    It is the smallest value that at least `percent` % of the values do not exceed.

    Args:
        ordered: The values, ascending.
        percent: 0 to 100.

    Returns:
        One of the values.

    Raises:
        ValueError: There are no values.
    """
    if not ordered:
        raise ValueError("no values")
    rank = max(1, math.ceil(percent / 100 * len(ordered)))
    return ordered[rank - 1]


def latency(values: Sequence[float]) -> Latency | None:
    """The statistics of times in milliseconds, in any order; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return Latency(
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        mean=math.fsum(ordered) / len(ordered),
        maximum=ordered[-1],
    )
