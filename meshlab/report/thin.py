"""Thinning of series to what a chart of so many pixels can show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from meshlab.report.material import Point


def thin(points: Sequence[Point], buckets: int) -> list[Point]:
    """At most about two points per bucket: the lowest and the highest of each, so that no peak is lost.

    buckets: how many equal spans of time the series is cut into, one per pixel or more coarse. The first and
    the last point stay, and one gap (a point without a value) stands where values are missing.
    """
    if buckets < 1:
        raise ValueError("a series can't be thinned to no bucket at all")
    if len(points) <= 2 * buckets:
        return list(points)
    start, span = points[0][0], points[-1][0] - points[0][0] or 1.0
    cut: list[list[Point]] = [[] for _ in range(buckets)]
    for point in points:
        cut[min(buckets - 1, int((point[0] - start) / span * buckets))].append(point)
    kept = [point for bucket in cut for point in _extremes(bucket)]
    for end in (points[0], points[-1]):
        if end not in kept:
            kept.append(end)
    return sorted(kept, key=lambda point: point[0])


def with_gaps(points: Sequence[Point]) -> list[Point]:
    """The points with a gap wherever the distance in time is more than three times the usual one."""
    distances = sorted(after[0] - before[0] for before, after in pairwise(points))
    if len(distances) < 2:
        return list(points)
    usual = distances[len(distances) // 2]
    filled: list[Point] = [points[0]]
    for point in points[1:]:
        if point[0] - filled[-1][0] > 3 * usual > 0:
            filled.append(((point[0] + filled[-1][0]) / 2, None))
        filled.append(point)
    return filled


def _extremes(bucket: Sequence[Point]) -> list[Point]:
    known = [(value, time) for time, value in bucket if value is not None]
    gaps = [point for point in bucket if point[1] is None][:1]
    if not known:
        return gaps
    found = {min(known), max(known)}
    return [*((time, value) for value, time in found), *gaps]
