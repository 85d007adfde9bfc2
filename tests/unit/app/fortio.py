"""What fortio leaves in a pod's log: lines of its own log, then its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

FIRST = '{"ts":1764360000.1,"level":"info","msg":"Starting","run":0}'
SAID = (
    "Fortio 1.68.1 running at 25 queries per second, 4->4 procs, for 2s: http://productpage:9080/productpage"
)


def result(
    buckets: Sequence[tuple[float, float, int]],
    codes: Mapping[str, int] | None = None,
    *,
    seconds: float = 2.0,
    rate: str | None = None,
    connections: int = 4,
) -> dict[str, Any]:
    """A result. buckets: seconds from and to, and how many. rate: that was asked for, "max" for a closed loop.

    Where it is not given, all requests that were asked for in the given seconds were sent.
    """
    count = sum(number for _, _, number in buckets)
    return {
        "RunType": "HTTP",
        "RequestedQPS": rate or f"{count / seconds:g}",
        "NumThreads": connections,
        "ActualQPS": count / seconds,
        "ActualDuration": int(seconds * 1e9),
        "DurationHistogram": {
            "Count": count,
            "Min": buckets[0][0] if buckets else 0,
            "Max": buckets[-1][1] if buckets else 0,
            "Sum": sum((start + end) / 2 * number for start, end, number in buckets),
            "Data": [
                {"Start": start, "End": end, "Percent": 0, "Count": number} for start, end, number in buckets
            ],
        },
        "RetCodes": dict(codes or {"200": count}),
    }


def log(found: Mapping[str, Any]) -> str:
    """The log of a pod that ended well."""
    return "\n".join(
        [FIRST, SAID, json.dumps(found, indent=2), "All done 50 calls (plus 2 warmup) 12.1 ms avg", ""]
    )
