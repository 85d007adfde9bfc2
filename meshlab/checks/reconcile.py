"""Counted = sent: what the sidecars counted over a window against what the traffic loop knows it sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshlab.app.loop import TrafficResult
from meshlab.app.once import RoundResult
from meshlab.checks.base import infra_error, judged
from meshlab.checks.snapshot import Count, Scraped, Snapshot
from meshlab.envoy.admin import Attempts
from meshlab.run.results import CheckResult, Table, Verdict

CHECK = "prometheus.reconcile"
NO_RESPONSE = "000"  # what curl reports when no response came
NO_CODE = "0"  # what Envoy logs when the caller left before there was a response
VOID = "void"


def reconcile(
    before: Snapshot,
    after: Snapshot,
    traffic: Sequence[TrafficResult | RoundResult],
    scraped: Scraped | None = None,
) -> CheckResult:
    """Judge one window: load stopped and drained between two snapshots, and the traffic between them.

    Source reporter: the requests sent, code by code; an absent series counts as 0. Requests without a
    response are at most what the sidecar logged with code 0, the others never reached it. Destination
    reporter: the attempts that the client's Envoy counts per endpoint, retries included; codes below 500
    must agree with what was sent, as neither a retry nor a reply made by the client's own proxy has one.

    Changed pods and counters that fell void the window: the answer is an infra-error, `is_void` says so,
    and the window may be repeated. Evidence: tables `by_code` and `attempts`, `series` (each raw counter
    before and after), `sent`.

    Args:
        before: The snapshot at its begin.
        after: The snapshot at its end.
        traffic: All that the sleep pod sent to productpage in the window, each loop stopped and drained; a
            loop that lost count makes the check an infra-error.
        scraped: Prometheus's own totals after the window; judged against the raw counters of `after`.

    Returns:
        The check.
    """
    reasons = [*void_reasons(before, after), *(scraped.falls if scraped else ())]
    sent = sent_by_status(traffic)
    evidence: dict[str, Any] = {
        "sent": dict(sent),
        "requests": sum(sent.values()),
        "family": list(after.family),
        "pods": [{"pod": pod, "identity": uid} for pod, uid in sorted(after.pods.items())],
        "series": _series_table(before, after),
        "attempts": _attempts_table(before, after),
    }
    if reasons:
        return infra_error(
            CHECK,
            f"{VOID}: {'; '.join(reasons)}",
            {**evidence, VOID: reasons},
            remedy="repeat the window; no pod and no mesh configuration may change in it",
        )
    lost = [error for each in traffic if isinstance(each, TrafficResult) for error in each.errors]
    if lost:
        return infra_error(
            CHECK, f"the traffic loop lost count: {'; '.join(lost)}", evidence, remedy="repeat the window"
        )
    if not sum(sent.values()):
        return infra_error(
            CHECK, "no request was sent in the window", evidence, remedy="run the traffic loop longer"
        )
    source, destination = _risen("source", before, after), _risen("destination", before, after)
    attempted = sum(row["total"] for row in evidence["attempts"])
    problems = _source_problems(source, sent) + _destination_problems(destination, sent, attempted)
    problems += _scraped_problems(after, scraped)
    evidence["by_code"] = _by_code(sent, source, destination, after, scraped)
    return judged(
        CHECK,
        problems,
        _summary(sent, source, destination, attempted, scraped),
        evidence,
        remedy="compare by_code and series; nothing else may call productpage from sleep meanwhile",
    )


def sent_by_status(traffic: Sequence[TrafficResult | RoundResult]) -> dict[str, int]:
    """HTTP status as curl reports it → requests, over all loops and rounds."""
    sums: Counter[str] = Counter()
    for each in traffic:
        sums.update(each.by_status)
    return dict(sums)


def is_void(result: CheckResult) -> bool:
    """Whether the window was void, so that repeating it once may give an answer."""
    return result.verdict is Verdict.INFRA_ERROR and VOID in result.evidence


def once_more(first: CheckResult, again: Callable[[], CheckResult]) -> CheckResult:
    """Judge a second window where the first was void.

    Its evidence `first_window` tells why there was one.

    Args:
        first: The check of the first window.
        again: Makes the check of a second one.

    Returns:
        The first check, or the second.
    """
    if not is_void(first):
        return first
    second = again()
    return replace(second, evidence={**second.evidence, "first_window": first.evidence[VOID]})


def void_reasons(before: Snapshot, after: Snapshot) -> list[str]:
    """Why the two snapshots can't be subtracted: pods that changed, counters that fell (a listener was replaced)."""
    reasons = [
        f"pod {pod} was {'restarted' if pod in before.pods and pod in after.pods else 'not there throughout'}"
        for pod in sorted({*before.pods, *after.pods})
        if before.pods.get(pod) != after.pods.get(pod)
    ]
    if reasons:
        return reasons
    now = {(c.pod, c.series): c.value for c in after.counts}
    for old in before.counts:
        new = now.get((old.pod, old.series), 0.0)
        if new < old.value:
            reasons.append(f"a counter of {old.pod} fell from {old.value:.0f} to {new:.0f}: {old.series}")
    totals = {(a.cluster, a.endpoint): a.total for a in after.attempts}
    for attempt in before.attempts:
        total = totals.get((attempt.cluster, attempt.endpoint), 0)
        if total < attempt.total:
            reasons.append(f"the attempts at {attempt.endpoint} fell from {attempt.total} to {total}")
    return reasons


def _risen(reporter: str, before: Snapshot, after: Snapshot) -> dict[str, int]:
    """Response code → how much the reporter's counters rose; codes that did not rise are left out."""
    old, new = before.totals(), after.totals()
    rise = {code: new[rep, code] - old.get((rep, code), 0.0) for rep, code in new if rep == reporter}
    return {code: round(value) for code, value in sorted(rise.items()) if value}


def _source_problems(source: Mapping[str, int], sent: Mapping[str, int]) -> list[str]:
    problems = []
    for code in sorted({*source, *sent} - {NO_RESPONSE, NO_CODE}):
        if source.get(code, 0) != sent.get(code, 0):
            problems.append(
                f"source reporter counted {source.get(code, 0)} requests with code {code}, "
                f"{sent.get(code, 0)} were sent"
            )
    if source.get(NO_CODE, 0) > sent.get(NO_RESPONSE, 0):
        problems.append(
            f"source reporter counted {source[NO_CODE]} requests without a response, "
            f"the loop saw {sent.get(NO_RESPONSE, 0)}"
        )
    return problems


def _destination_problems(
    destination: Mapping[str, int], sent: Mapping[str, int], attempted: int
) -> list[str]:
    problems = []
    total = sum(destination.values())
    if total != attempted:
        problems.append(
            f"destination reporter counted {total} requests, the client's Envoy made {attempted} attempts"
        )
    for code in sorted({*destination, *sent}):
        if code.isdigit() and 0 < int(code) < 500 and destination.get(code, 0) != sent.get(code, 0):
            problems.append(
                f"destination reporter counted {destination.get(code, 0)} requests with code {code}, "
                f"{sent.get(code, 0)} were sent"
            )
    return problems


def _scraped_problems(after: Snapshot, scraped: Scraped | None) -> list[str]:
    if scraped is None:
        return []
    raw = {key: value for key, value in after.totals().items() if value and key[0] in scraped.reporters}
    return [
        f"Prometheus has {scraped.totals.get(key, 0):.0f} for reporter {key[0]}, code {key[1]}; "
        f"the sidecars counted {raw.get(key, 0):.0f}"
        for key in sorted({*raw, *scraped.totals})
        if scraped.totals.get(key, 0) != raw.get(key, 0)
    ]


def _summary(
    sent: Mapping[str, int],
    source: Mapping[str, int],
    destination: Mapping[str, int],
    attempted: int,
    scraped: Scraped | None,
) -> str:
    requests = sum(sent.values())
    codes = ", ".join(f"{code}: {n}" for code, n in sorted(sent.items()) if n)
    lost = sent.get(NO_RESPONSE, 0)
    parts = [f"{requests} requests sent ({codes}), source counted {sum(source.values())}"]
    if lost:
        seen = source.get(NO_CODE, 0)
        parts.append(
            f"{lost} without a response ({seen} of them seen by the sidecar, {lost - seen} never reached it)"
        )
    parts.append(f"destination counted {sum(destination.values())} of {attempted} attempts")
    if scraped is not None:
        of_source = sum(v for (reporter, _), v in scraped.totals.items() if reporter == "source")
        parts.append(
            f"Prometheus agrees on {len(scraped.totals)} totals ({of_source:.0f} source requests in all)"
        )
    else:
        parts.append("Prometheus not asked")
    return "; ".join(parts)


def _by_code(
    sent: Mapping[str, int],
    source: Mapping[str, int],
    destination: Mapping[str, int],
    after: Snapshot,
    scraped: Scraped | None,
) -> Table:
    totals = after.totals()
    seen = scraped.totals if scraped else {}
    codes = {*sent, *source, *destination, *(code for _, code in totals)}
    return [
        {
            "response_code": code,
            "sent": sent.get(code, 0),
            "source": source.get(code, 0),
            "destination": destination.get(code, 0),
            "source_raw_total": totals.get(("source", code), 0.0),
            "source_in_prometheus": seen.get(("source", code), 0.0) if scraped else None,
            "destination_raw_total": totals.get(("destination", code), 0.0),
            "destination_in_prometheus": seen.get(("destination", code), 0.0) if scraped else None,
        }
        for code in sorted(codes)
    ]


def _series_table(before: Snapshot, after: Snapshot) -> Table:
    old = {(c.pod, c.series): c.value for c in before.counts}
    new = {(c.pod, c.series): c.value for c in after.counts}
    known: Sequence[Count] = list({(c.pod, c.series): c for c in (*before.counts, *after.counts)}.values())
    return [
        {
            "pod": c.pod,
            "reporter": c.reporter,
            "response_code": c.response_code,
            "before": old.get((c.pod, c.series), 0.0),
            "after": new.get((c.pod, c.series), 0.0),
            "rise": new.get((c.pod, c.series), 0.0) - old.get((c.pod, c.series), 0.0),
            "series": c.series,
        }
        for c in known
    ]


def _attempts_table(before: Snapshot, after: Snapshot) -> Table:
    old = {(a.cluster, a.endpoint): a for a in before.attempts}
    rows: Table = []
    for now in after.attempts:
        was = old.get((now.cluster, now.endpoint), Attempts(now.cluster, now.endpoint, 0, 0, 0))
        rows.append(
            {
                "cluster": now.cluster,
                "endpoint": now.endpoint,
                "total": now.total - was.total,
                "success": now.success - was.success,
                "error": now.error - was.error,
            }
        )
    return rows
