"""rotation.leaf and rotation.root: every proxy gets its new certificate in time, and no request fails meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.app.background_traffic import BackgroundResult
from meshlab.checks.base import broken, infra_error, judged
from meshlab.core.text import pluralize
from meshlab.run.results import CheckResult
from meshlab.security.rotation.drill import RENEWED_AFTER, TTL, Step

LEAF, ROOT = "rotation.leaf", "rotation.root"
LEAST = 50  # requests; fewer would meet the moments of a rotation by chance only


def leaf(step: Step, sent: BackgroundResult) -> CheckResult:
    """Make rotation.leaf: every proxy renews its certificate in time.

    Evidence: `steps`, `requests` (by stream), and the lifetime. A proxy that is late is named, with the seconds that its
    certificate is still valid for: a frozen rotation is told before anything expires.

    Args:
        step: What became of the certificates.
        sent: The requests meanwhile.

    Returns:
        The check.
    """
    evidence = {"lifetime in seconds": TTL, "renewed after, in seconds": RENEWED_AFTER, **_seen([step], sent)}
    wrong = [
        f"the rotation is frozen at {name}: it has the certificate that it had, {step.left:.0f} s before one ends"
        for name in step.late
    ]
    return _made(LEAF, [step], sent, wrong, evidence, f"{pluralize(step.proxies, 'proxies')} renewed")


def root(steps: Sequence[Step], sent: BackgroundResult) -> CheckResult:
    """Make rotation.root: another intermediate, another root and the way back reach every proxy.

    Evidence: `steps` (seconds until every proxy served the new chain), `requests` (by stream).

    Args:
        steps: In their order.
        sent: The requests meanwhile.

    Returns:
        The check.
    """
    wrong = [
        f"{step.name}: {pluralize(len(step.late), 'proxies')} of {step.proxies} never served the new chain "
        f"({', '.join(step.late[:5])})"
        for step in steps
        if step.late
    ]
    times = ", ".join(f"{step.name} {step.seconds:.0f} s" for step in steps if step.seconds is not None)
    return _made(ROOT, steps, sent, wrong, _seen(steps, sent), f"every proxy served the new chain: {times}")


def _made(
    check_id: str,
    steps: Sequence[Step],
    sent: BackgroundResult,
    wrong: list[str],
    evidence: Mapping[str, Any],
    summary: str,
) -> CheckResult:
    lost = {name: _failed(sent, name) for name in sent.streams}
    wrong += [
        f"{name}: {pluralize(count, 'requests')} of {sent.streams[name].sent} failed "
        f"({', '.join(f'{n} × {status}' for status, n in sent.streams[name].by_status.items())})"
        for name, count in lost.items()
        if count
    ]
    errors = [f"{name}: {error}" for name, result in sent.streams.items() for error in result.errors]
    if errors and not wrong:
        return infra_error(check_id, f"the counts may be wrong: {'; '.join(errors)}", evidence)
    if not wrong and (sent.sent < LEAST or not all(step.proxies for step in steps)):
        why = f"{sent.sent} requests were sent, to {min((s.proxies for s in steps), default=0)} proxies"
        return broken(check_id, why, evidence, remedy="see why the streams sent so little")
    slowest = max((step.seconds for step in steps if step.seconds is not None), default=0.0)
    return judged(
        check_id,
        wrong,
        f"{summary}; at most {slowest:.0f} s; {sum(lost.values())} of {sent.sent} requests failed",
        evidence,
        remedy="the istio-proxy containers' logs name why they got no certificate, istiod's why it gave none",
    )


def _failed(sent: BackgroundResult, name: str) -> int:
    return sent.streams[name].sent - sent.streams[name].by_status.get(sent.wanted[name], 0)


def _seen(steps: Sequence[Step], sent: BackgroundResult) -> dict[str, Any]:
    return {
        "steps": [
            {
                "step": step.name,
                "proxies": step.proxies,
                "seconds until the last": step.seconds,
                "late": list(step.late),
                "valid for another, in seconds": step.left,
            }
            for step in steps
        ],
        "requests": [
            {
                "stream": name,
                "sent": result.sent,
                "failed": _failed(sent, name),
                "by status": dict(result.by_status),
            }
            for name, result in sent.streams.items()
        ],
    }
