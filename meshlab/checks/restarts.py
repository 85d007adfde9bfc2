"""restart.no-failed-request: our workloads are restarted while requests are sent, none fails, and a Job with a sidecar ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from meshlab.checks.base import broken, failed, infra_error, judged
from meshlab.checks.live_restarts import JobEnded, Restarted
from meshlab.core.text import pluralize
from meshlab.run.results import CheckResult

CHECK = "restart.no-failed-request"
GOOD = "200"
LEAST_RATE = (
    15.0  # requests per second of the 20 that are meant; fewer meet the moments of a restart by chance only
)
SHOWN = 20  # failed requests of a workload that are listed one by one
EXHAUSTED, NOBODY = ("URX",), ("UH", "NC", "NR")  # Envoy's flags: retries used up; nowhere to send to
REMEDIES = (
    "drain: give the container a preStop hook that sleeps some seconds, so that it serves until every proxy has heard",
    "readiness: give it a readiness probe that asks the application itself",
    "retries: look at the retries of its VirtualService",
)


def no_failed_request(restarted: Sequence[Restarted], job: JobEnded) -> CheckResult:
    """Make restart.no-failed-request.

    Evidence: `workloads` (requests, rate, failed, times), `failed requests` (when, what, and the cause), `job`. Broken where
    requests failed before the restart, too few were sent, or no pod was replaced.

    Args:
        restarted: Each workload.
        job: The Job.

    Returns:
        The check.
    """
    causes = {each.workload: attribute(each) for each in restarted}
    evidence: dict[str, Any] = {
        "workloads": [_row(each, causes[each.workload]) for each in restarted],
        "failed requests": [row for each in restarted for row in _failures(each, causes[each.workload])],
        "job": {
            "condition": job.condition,
            "with a sidecar": job.sidecar,
            "native sidecar": job.native,
            "why": job.why,
        },
    }
    lost = [
        f"{each.workload}: {pluralize(len(causes[each.workload]), 'requests')} of {len(each.requests)} failed ("
        + ", ".join(f"{count} × {why}" for why, count in Counter(causes[each.workload].values()).items())
        + _flags(each)
        + ")"
        for each in restarted
        if causes[each.workload]
    ]
    if job.condition != "Complete":
        lost.append(
            f"a Job with a sidecar did not end Complete: {job.condition or 'it still runs'} ({job.why})"
        )
    if not lost and (errors := [f"{each.workload}: {e}" for each in restarted for e in each.errors]):
        return infra_error(CHECK, f"the counts may be wrong: {'; '.join(errors)}", evidence)
    if odd := _controls(restarted, job):
        if lost and not any("before its restart" in each for each in odd):
            return failed(CHECK, lost, evidence, remedy="; ".join(REMEDIES))
        return broken(CHECK, "; ".join(odd), evidence, remedy="see the rows of the evidence")
    sent = sum(len(each.requests) for each in restarted)
    return judged(
        CHECK,
        lost,
        f"{pluralize(len(restarted), 'workloads')} restarted under {min(each.rate for each in restarted):.0f} requests/s "
        f"or more: {sum(map(len, causes.values()))} of {sent} requests failed; a Job with a sidecar ended "
        f"{job.condition or 'not'}",
        evidence,
        remedy="; ".join(REMEDIES),
    )


def attribute(one: Restarted) -> dict[int, str]:
    """Say of each failed request why it failed, by when it was sent, and by what the sidecars counted.

    Args:
        one: The workload that was restarted.

    Returns:
        Place of the request among `requests` → the cause.
    """
    failures = [
        index for index, each in enumerate(one.requests) if each.status != GOOD and each.started >= one.begun
    ]
    unready = one.refused_by_new
    exhausted = sum(one.flags.get(flag, 0) for flag in EXHAUSTED)
    nobody = sum(one.flags.get(flag, 0) for flag in NOBODY)
    found = {}
    for index in failures:
        at = one.requests[index].ended
        if nobody > 0:
            nobody -= 1
            found[index] = "readiness: there was no endpoint"
        elif unready > 0 and at >= one.ready:
            unready -= 1
            found[index] = "readiness: a new pod was Ready and did not answer"
        elif exhausted > 0:
            exhausted -= 1
            found[index] = "retries: used up"
        elif at < one.ready:
            found[index] = "before a new pod was Ready"
        elif one.requests[index].started <= one.gone:
            found[index] = "drain: the old pod was going"
        else:
            found[index] = "after the old pod was gone"
    return found


def _controls(restarted: Sequence[Restarted], job: JobEnded) -> list[str]:
    """Why a pass would prove nothing."""
    found = [] if restarted else ["no workload was restarted"]
    for each in restarted:
        before = [r for r in each.requests if r.started < each.begun]
        if bad := sum(r.status != GOOD for r in before):
            found.append(f"{each.workload}: {bad} of {len(before)} requests failed before its restart")
        elif not before:
            found.append(f"{each.workload}: no request was sent before its restart")
        if not each.replaced:
            found.append(f"{each.workload}: none of its pods is new")
        if each.rate < LEAST_RATE:
            found.append(f"{each.workload}: only {each.rate:.1f} requests/s were sent")
    if job.condition == "Complete" and not job.sidecar:
        found.append("the Job's pod had no sidecar")
    return found


def _row(each: Restarted, causes: dict[int, str]) -> dict[str, object]:
    return {
        "workload": each.workload,
        "url": each.url,
        "requests": len(each.requests),
        "per second": round(each.rate, 1),
        "failed": len(causes),
        "new pods": each.replaced,
        "new pod Ready after": _seconds(each.begun, each.ready),
        "old pod gone after": _seconds(each.begun, each.gone),
        "flags at the caller": dict(each.flags),
        "failed inside new pods": each.refused_by_new,
    }


def _failures(each: Restarted, causes: dict[int, str]) -> list[dict[str, object]]:
    rows = []
    for index in sorted(causes)[:SHOWN]:
        request = each.requests[index]
        rows.append(
            {
                "workload": each.workload,
                "seconds after the restart began": _seconds(each.begun, request.started),
                "status": request.status,
                "curl": request.exit_code,
                "ms": round(request.ms, 1),
                "cause": causes[index],
            }
        )
    return rows


def _flags(each: Restarted) -> str:
    return f"; {', '.join(f'{flag} {count}' for flag, count in each.flags.items())}" if each.flags else ""


def _seconds(begun: datetime, then: datetime) -> float:
    return round((then - begun).total_seconds(), 1)
