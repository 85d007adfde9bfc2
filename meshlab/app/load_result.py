"""What fortio found: its JSON, read out of its pods' logs, and put together."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.config.settings_load import LoadProfile

RESOLUTION = 0.0001  # seconds: the width of fortio's first buckets
REACHED = 0.99  # of the asked rate: less, and what sends or what answers is saturated
PERCENTILES = (50, 90, 99, 99.9)
# Where fortio's buckets end, in steps of the resolution.
ENDS = (
    *range(1, 12), *range(12, 21, 2), *range(25, 51, 5), *range(60, 101, 10), *range(120, 201, 20),
    *range(250, 501, 50), *range(600, 1001, 100), 2000, 3000, 4000, 5000, 7500,
    10_000, 20_000, 30_000, 40_000, 50_000, 75_000, 100_000,
)  # fmt: skip


@dataclass(frozen=True)
class Bucket:
    """Requests that took from `start` to `end` milliseconds."""

    start: float
    end: float
    count: int


@dataclass(frozen=True)
class LoadResult:
    """What a load test found.

    asked, reached: requests/s; asked is None in a closed loop. connections: that fortio used, which are fewer than it was
    asked for where there are few requests. seconds: in which requests were sent. statuses: HTTP status → requests;
    "no answer" for those that got none. least, mean, most: milliseconds.
    """

    asked: float | None
    reached: float
    connections: int
    pods: int
    seconds: float
    statuses: Mapping[str, int]
    histogram: tuple[Bucket, ...]
    least: float
    mean: float
    most: float

    @property
    def requests(self) -> int:
        """How many were sent."""
        return sum(self.statuses.values())

    @property
    def errors(self) -> int:
        """Requests that got no answer, or another status than 2xx."""
        return sum(count for status, count in self.statuses.items() if not status.startswith("2"))

    @property
    def share(self) -> float | None:
        """The reached rate as a share of the asked one."""
        return None if self.asked is None else self.reached / self.asked

    @property
    def saturated(self) -> bool:
        """Whether the asked rate was not reached: times then say how a queue grew, not how long a request takes."""
        return self.share is not None and self.share < REACHED

    def percentile(self, percent: float) -> float:
        """Return the milliseconds within which so many percent of the requests were answered; 0 where none was sent."""
        wanted, reached = percent / 100 * sum(each.count for each in self.histogram), 0
        for bucket in self.histogram:
            if reached + bucket.count >= wanted:
                return bucket.start + (wanted - reached) / bucket.count * (bucket.end - bucket.start)
            reached += bucket.count
        return self.most

    def as_json(self) -> dict[str, Any]:
        """The result as `result.json` has it; times in milliseconds, rates per second."""
        return {
            "asked_rate": self.asked,
            "reached_rate": round(self.reached, 3),
            "saturated": self.saturated,
            "connections": self.connections,
            "pods": self.pods,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "errors": self.errors,
            "statuses": dict(self.statuses),
            **{f"p{percent:g}_ms": round(self.percentile(percent), 3) for percent in PERCENTILES},
            "least_ms": round(self.least, 3),
            "mean_ms": round(self.mean, 3),
            "most_ms": round(self.most, 3),
            "histogram": [[round(each.start, 3), round(each.end, 3), each.count] for each in self.histogram],
        }

    def __str__(self) -> str:
        asked = "as many as it could" if self.asked is None else f"{self.asked:g} requests/s"
        times = ", ".join(f"p{percent:g} {self.percentile(percent):.3g} ms" for percent in PERCENTILES)
        missed = ", saturated" if self.saturated else ""
        return (
            f"{self.requests} requests from {self.pods} pods, {self.connections} connections: asked for {asked}, "
            f"reached {self.reached:.4g}{missed}; {self.errors} errors; {times}"
        )


def fortio_json(log: str) -> Mapping[str, Any] | None:
    """Find fortio's result in its log; None where there is none.

    What it says beside goes to its standard error: the kubelet's log has both streams, each in its own order, so lines of
    the one may stand between those of the other. All lines within the result are indented, and none of the others is.
    """
    lines = [line for line in log.splitlines() if line in ("{", "}") or line.startswith("  ")]
    begins = [number for number, line in enumerate(lines) if line == "{"]
    ends = [number for number, line in enumerate(lines) if line == "}"]
    if not begins or not ends or ends[-1] < begins[-1]:
        return None
    try:
        found: Any = json.loads("\n".join(lines[begins[-1] : ends[-1] + 1]))
    except ValueError:
        return None
    return found if isinstance(found, dict) and "DurationHistogram" in found else None


def combine(profile: LoadProfile, found: Sequence[Mapping[str, Any]]) -> LoadResult:
    """Put together what the pods of one load test found.

    Args:
        profile: What all of them together were asked for.
        found: fortio's results, one for each pod.

    Returns:
        The result of all.
    """
    statuses: Counter[str] = Counter()
    counts: Counter[int] = Counter()
    totals = [each["DurationHistogram"] for each in found]
    reached, longest = 0.0, 0.0
    for each, total in zip(found, totals, strict=True):
        seconds = _sending(each, profile.seconds)
        longest = max(longest, seconds)
        reached += total["Count"] / seconds if seconds else 0.0
        for code, count in each["RetCodes"].items():
            statuses[code if int(code) > 0 else "no answer"] += count
        for bucket in total["Data"] or ():
            counts[_place((bucket["Start"] + bucket["End"]) / 2)] += bucket["Count"]
    requests = sum(total["Count"] for total in totals)
    most = max((total["Max"] for total in totals), default=0.0) * 1000
    least = min((total["Min"] for total in totals if total["Count"]), default=0.0) * 1000
    return LoadResult(
        profile.rate,
        reached,
        sum(each["NumThreads"] for each in found),
        len(found),
        longest,
        dict(sorted(statuses.items())),
        _buckets(counts, least, most),
        least,
        sum(total["Sum"] for total in totals) / requests * 1000 if requests else 0.0,
        most,
    )


def _sending(found: Mapping[str, Any], asked: float) -> float:
    """Seconds in which one pod sent its requests: what its rate is counted by.

    fortio plans as many requests of the rate as its connections can share evenly, so their time is up to one interval of a
    connection shorter than asked; for fewer than two requests per connection it uses fewer connections, and it sends two
    requests at least. The connections begin one after the other, within an interval: that, and the wait for the last
    answer, is no sending. It is never longer than all of it lasted, as where it was cut short.
    """
    lasted: float = found["ActualDuration"] / 1e9
    if found["RequestedQPS"] == "max":
        return lasted
    rate, connections = float(found["RequestedQPS"]), int(found["NumThreads"])
    planned = max(2, int(rate * asked)) // connections * connections / rate
    beside = connections / rate + float(found["DurationHistogram"]["Max"])
    return min(lasted, max(planned, lasted - beside))


def _place(seconds: float) -> int:
    """The place in ENDS of the bucket that holds a time; one more than there are for what took longer."""
    return bisect_left(ENDS, seconds / RESOLUTION)


def _buckets(counts: Mapping[int, int], least: float, most: float) -> tuple[Bucket, ...]:
    """The buckets that are not empty, the first and the last cut to what was seen; in milliseconds."""
    edges = [0.0, *(each * RESOLUTION * 1000 for each in ENDS), most]
    return tuple(
        Bucket(max(least, edges[place]), min(most, edges[place + 1]), count)
        for place, count in sorted(counts.items())
    )
