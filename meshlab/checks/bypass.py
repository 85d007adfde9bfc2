"""egress.no-bypass: with a NetworkPolicy that lets nothing but the egress gateway out, no way around it is served."""

from __future__ import annotations

from meshlab.checks.base import broken, judged
from meshlab.run.results import CheckResult
from meshlab.security.gateways.bypass import BypassProbe, Ways
from meshlab.security.gateways.trials import ROUNDS, problems, rows

CHECK = "egress.no-bypass"


def ask(probe: BypassProbe) -> tuple[Ways, Ways]:
    """Ask every way without the policy and with it; the policy is gone afterwards.

    Args:
        probe: The callers, begun.

    Returns:
        What came of the requests without the policy, and with it.

    Raises:
        MeshlabError: The requests could not be made.
    """
    free = probe.ask(passes=True)
    probe.close()
    held = probe.ask(passes=False)
    probe.open()
    return free, held


def no_bypass(free: Ways, held: Ways) -> CheckResult:
    """Make egress.no-bypass.

    Evidence: `without the policy` and `with the policy` (requests), `counted` (per group: served, by the destination
    and by the egress gateway). Broken where a way was not served without the policy.

    Args:
        free: Requests without the policy: the controls.
        held: The same requests with it.

    Returns:
        The check.
    """
    evidence = {
        "without the policy": rows([*free.around, free.through]),
        "with the policy": rows([*held.around, held.through]),
        "counted": [_counted("without the policy", free), _counted("with the policy", held)],
    }
    if odd := problems([*free.around, free.through]):
        return broken(CHECK, f"without the policy, {'; '.join(odd)}", evidence, remedy="see why it fails")
    sent = ROUNDS * (len(free.around) + 1)
    if free.answered != sent:
        why = f"the destination counted {free.answered} of the {sent} requests that passed"
        return broken(CHECK, why, evidence, remedy="something else asks it, or its count is wrong")
    wrong = problems([*held.around, held.through])
    if (reached := held.answered - held.through.as_expected) > 0 and all(each.holds for each in held.around):
        wrong.append(f"{reached} stopped requests reached their destination")
    for ways, when in ((free, "without"), (held, "with")):
        if ways.through.holds and ways.passed.metric != len(ways.through.answers):
            wrong.append(
                f"{when} the policy the egress gateway counted {ways.passed.metric} requests, "
                f"{len(ways.through.answers)} were sent through it"
            )
    stopped = sum(each.holds for each in held.around)
    return judged(
        CHECK,
        wrong,
        f"{stopped} of {len(held.around)} ways around the egress gateway stopped {ROUNDS} times in a row by the "
        f"NetworkPolicy, {sum(each.holds for each in free.around)} served without it; through the gateway "
        f"{free.through.as_expected + held.through.as_expected} of {2 * ROUNDS} passed",
        evidence,
        remedy="let pods out to the egress gateway, the control plane and DNS only, by a NetworkPolicy that selects them all",
    )


def _counted(what: str, ways: Ways) -> dict[str, object]:
    return {
        "requests": what,
        "served": sum(each.as_expected for each in (*ways.around, ways.through) if each.expected == "200"),
        "destination": ways.answered,
        "gateway's metric": ways.passed.metric,
        "gateway, per endpoint": ways.passed.attempts,
    }
