"""The controlled egress, asked from inside the mesh: what is refused, what passes, and which way it takes.

The destination counts what reached it, so that a refusal is more than an error at the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshlab.checks.base import broken, judged
from meshlab.run.results import CheckResult
from meshlab.security.gateways.exit import EgressProbe, Passed
from meshlab.security.gateways.trials import ROUNDS, Tried, in_turn, problems, rows

DECLARED_REQUESTS = 5
BYPASS = (
    "a pod without a sidecar, a program of the proxy's own user (1337), and ports that an annotation excludes from "
    "redirection are not held by the mesh; only a NetworkPolicy that lets nothing but the egress gateway out closes them"
)


@dataclass(frozen=True)
class Open:
    """What was asked while everything was allowed: the controls. answered: how many reached the destination."""

    undeclared: Tried
    direct: Tried
    answered: int


@dataclass(frozen=True)
class Closed:
    """What was asked under REGISTRY_ONLY. Counts are the destination's own for the requests beside them."""

    known: Tried
    undeclared: Tried
    direct: Tried
    answered: int


@dataclass(frozen=True)
class Declared:
    """What was asked of the declared host. around: from a pod without a sidecar.

    passed: what the egress gateway counted meanwhile, without those around it; passed_around: while they were
    sent; answered, answered_around: by the destination.
    """

    declared: Tried
    passed: Passed
    answered: int
    around: Tried
    passed_around: Passed
    answered_around: int


def ask_open(exit_: EgressProbe) -> Open:
    """The controls, with everything allowed. Raises ExecError, QueryError, KubeError."""
    before = exit_.answered()
    undeclared, direct = in_turn([exit_.undeclared(passes=True), exit_.direct(passes=True)])
    return Open(undeclared, direct, exit_.answered() - before)


def ask_closed(exit_: EgressProbe) -> Closed:
    """The refusals, each beside a request that passes. Raises ExecError, QueryError, KubeError."""
    before = exit_.answered()
    known, undeclared, direct = in_turn(
        [
            exit_.known(),
            exit_.undeclared(passes=False, control="the same request under ALLOW_ANY; a service of the mesh"),
            exit_.direct(passes=False, control="the same request under ALLOW_ANY; the declared host"),
        ]
    )
    return Closed(known, undeclared, direct, exit_.answered() - before)


def ask_declared(exit_: EgressProbe) -> Declared:
    """The declared host, through the gateway and around it. Raises ExecError, QueryError, KubeError."""
    gateway, outside = [exit_.passed()], [exit_.answered()]
    (declared,) = in_turn([exit_.declared()], DECLARED_REQUESTS)
    gateway.append(exit_.passed())
    outside.append(exit_.answered())
    (around,) = in_turn([exit_.around()], 1)
    gateway.append(exit_.passed())
    outside.append(exit_.answered())
    return Declared(
        declared=declared,
        passed=gateway[1] - gateway[0],
        answered=outside[1] - outside[0],
        around=around,
        passed_around=gateway[2] - gateway[1],
        answered_around=outside[2] - outside[1],
    )


def blocked(free: Open, held: Closed) -> CheckResult:
    """Make egress.blocked: what the mesh does not know is refused, and nothing of it reaches its destination.

    Evidence: `requests`, `answered by the destination`. Broken where the same request failed while
    everything was allowed, or the caller can't send at all.

    Args:
        free: Requests while everything was allowed: the control.
        held: The same requests under REGISTRY_ONLY.

    Returns:
        The check.
    """
    control = Tried("undeclared host, ALLOW_ANY", free.undeclared.request, "200", free.undeclared.answers)
    evidence = {
        "requests": rows([control, held.known, held.undeclared]),
        "answered by the destination": {"ALLOW_ANY": free.answered, "REGISTRY_ONLY": held.answered},
    }
    for each in (control, held.known):
        if not each.holds:
            return broken("egress.blocked", each.problem, evidence, remedy="see why this request fails")
    if free.answered != 2 * ROUNDS:
        why = f"the destination counted {free.answered} of the {2 * ROUNDS} requests that passed"
        return broken("egress.blocked", why, evidence, remedy="something else asks it, or its count is wrong")
    wrong = problems([held.undeclared])
    # What came by the direct path is egress.gateway's to judge.
    reached = max(0, held.answered - (len(held.direct.answers) - held.direct.as_expected))
    if held.undeclared.holds and reached:
        wrong.append(f"{reached} refused requests reached their destination")
    return judged(
        "egress.blocked",
        wrong,
        f"{held.undeclared.as_expected} of {ROUNDS} refused under REGISTRY_ONLY, {reached} reached the "
        f"destination; under ALLOW_ANY {control.as_expected} of {ROUNDS} passed",
        evidence,
        remedy="look at the Sidecar's outboundTrafficPolicy, and at what `istioctl proxy-config` shows of the caller",
    )


def gateway(free: Open, held: Closed, declared: Declared) -> CheckResult:
    """Make egress.gateway: the declared host is reached through the egress gateway only, by the gateway's own count.

    Evidence: `requests`, `counted` (per group: sent, by the gateway's metric and per endpoint, by the
    destination), `by-pass that remains`. Broken where the direct path failed while everything was allowed.

    Args:
        free: Requests while everything was allowed: the control.
        held: The same requests under REGISTRY_ONLY.
        declared: Requests to the declared host.

    Returns:
        The check.
    """
    control = Tried("direct, by address, ALLOW_ANY", free.direct.request, "200", free.direct.answers)
    sent = len(declared.declared.answers)
    remains = declared.around.holds
    evidence = {
        "requests": rows([declared.declared, control, held.direct, declared.around]),
        "counted": [
            _counted("through the egress gateway", sent, declared.passed, declared.answered),
            _counted("around it, without a sidecar", 1, declared.passed_around, declared.answered_around),
        ],
        "by-pass that remains": BYPASS
        if remains
        else "a pod without a sidecar was refused: something else closes it",
    }
    if not control.holds:
        return broken("egress.gateway", control.problem, evidence, remedy="see why this request fails")
    wrong = problems([declared.declared, held.direct])
    for what, count in (
        ("request metric", declared.passed.metric),
        ("count per endpoint", declared.passed.attempts),
    ):
        if count != sent:
            wrong.append(f"the egress gateway's {what} rose by {count}, {sent} requests were sent")
    if declared.answered != sent:
        wrong.append(f"the destination answered {declared.answered} of {sent} requests")
    return judged(
        "egress.gateway",
        wrong,
        f"{declared.declared.as_expected} of {sent} passed, {declared.passed.metric} counted by the egress gateway; "
        f"direct path refused {held.direct.as_expected} of {ROUNDS}; "
        f"{'a pod without a sidecar still gets by' if remains else 'no by-pass found'}",
        evidence,
        remedy="look at ServiceEntry, VirtualService and DestinationRule, and at the gateway's log",
    )


def _counted(what: str, sent: int, passed: Passed, answered: int) -> dict[str, object]:
    return {
        "requests": what,
        "sent": sent,
        "gateway's metric": passed.metric,
        "gateway, per endpoint": passed.attempts,
        "destination": answered,
    }
