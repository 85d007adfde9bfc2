"""What a traffic loop sent, for the tests of the checks."""

from __future__ import annotations

from collections.abc import Mapping

from meshlab.app.loop import TrafficResult


def traffic(
    by_status: Mapping[str, int], *, rate: float = 1.0, errors: tuple[str, ...] = ()
) -> TrafficResult:
    """A loop that was stopped and drained."""
    sent = sum(by_status.values())
    return TrafficResult(
        sent=sent,
        by_status=by_status,
        exit_codes={},
        p50_ms=10.0,
        p90_ms=12.0,
        p99_ms=15.0,
        mean_ms=11.0,
        max_ms=16.0,
        seconds=sent / rate,
        rate=rate,
        first=None,
        last=None,
        leftovers_ended=0,
        errors=errors,
    )
