"""An upgrade of Istio: traffic throughout, every proxy on the new side and the old side gone, or all of it taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshlab.app.budget import Budget, Spent, overspent
from meshlab.checks.base import broken, failed, infra_error, judged, skipped
from meshlab.checks.leftovers import IN_A_ROW, Inventory, count
from meshlab.core.errors import WaitTimeout
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, wait
from meshlab.run.results import CheckResult

GONE_TIMEOUT = 60.0  # seconds until nothing of a removed revision is there


@dataclass(frozen=True)
class Proxy:
    """A proxy. name: `namespace/pod`. revision: that made it; version: what it tells of itself, "" where nothing."""

    name: str
    revision: str
    version: str


@dataclass(frozen=True)
class Side:
    """A revision of Istio, with its version."""

    revision: str
    version: str

    def __str__(self) -> str:
        return f"{self.version} (revision {self.revision})"


@dataclass(frozen=True)
class Ended:
    """How a revision ended: `before` names its objects before its removal; `look` lists what there is of it now."""

    before: Inventory
    look: Callable[[], Inventory]


def traffic(spent: Spent, budget: Budget, errors: Sequence[str] = ()) -> CheckResult:
    """Make upgrade.traffic: the error budget held.

    Evidence: requests, failed, failed_in_a_row, longest_gap_ms, by_status, lives, and what the budget allows.

    Args:
        spent: What was sent, and what of it failed.
        budget: What may fail.
        errors: Why the counts may be wrong.

    Returns:
        The check.
    """
    evidence = {
        "requests": spent.requests,
        "failed": spent.failed,
        "failed_in_a_row": spent.failed_in_a_row,
        "longest_gap_ms": None if spent.gap_ms is None else round(spent.gap_ms, 1),
        "by_status": dict(spent.by_status),
        "lives": spent.lives,
        "may_fail_share": budget.failed_share,
        "may_fail_in_a_row": budget.in_a_row,
    }
    problems = list(overspent(spent, budget, ended=True))
    if spent.requests == 0:
        problems.append("no request was sent")
    if errors and not problems:
        return infra_error("upgrade.traffic", f"the counts may be wrong: {'; '.join(errors)}", evidence)
    return judged(
        "upgrade.traffic",
        problems,
        str(spent),
        evidence,
        remedy="requests-upgrade.csv in the run's evidence has every request; compare with the steps' times",
    )


def versions(
    old: Side, new: Side, proxies: Sequence[Proxy], ended: Ended, *, clock: Clock | None = None
) -> CheckResult:
    """Make upgrade.versions: every proxy is of the new version and revision, and nothing of the old revision is left.

    Evidence: table `proxies`, `old_before` and `old_left` (kind → how many).

    Args:
        old: What was replaced.
        new: What replaced it.
        proxies: Every proxy of the mesh.
        ended: The old revision's objects, before its removal (the control) and now: none, three times in a row.
        clock: Of the wait; the real one where not given.

    Returns:
        The check.
    """
    if count(ended.before) == 0:
        return broken("upgrade.versions", f"the inventory found nothing of revision {old.revision} before")
    problems = _not_on(new, proxies)
    left = _left(ended, clock)
    if count(left):
        problems.append(f"{count(left)} objects of revision {old.revision} are left: {_named(left)}")
    right = sum(proxy.revision == new.revision and proxy.version == new.version for proxy in proxies)
    return judged(
        "upgrade.versions",
        problems,
        f"{right} of {len(proxies)} proxies are {new}; of {old} {count(ended.before)} objects before, "
        f"{count(left)} after ({IN_A_ROW} looks in a row)",
        _evidence(proxies) | {"old_before": _counts(ended.before), "old_left": _counts(left)},
        remedy="restart what is named; `istioctl proxy-status` tells which istiod serves a proxy",
    )


def not_upgraded(old: Side, new: Side, why: str, proxies: Sequence[Proxy]) -> CheckResult:
    """Make upgrade.versions of an upgrade that did not come to its end.

    Args:
        old: What runs still, or again.
        new: What was to replace it.
        why: What ended the upgrade.
        proxies: Every proxy of the mesh, as it is now.

    Returns:
        The check: a failure.
    """
    return failed(
        "upgrade.versions",
        [f"the mesh was not upgraded from {old} to {new}: {why}"],
        _evidence(proxies),
        remedy="mend the cause and start the upgrade again",
    )


def rollback(
    old: Side,
    new: Side,
    why: str,
    done: Sequence[str],
    proxies: Sequence[Proxy],
    ended: Ended,
    *,
    clock: Clock | None = None,
) -> CheckResult:
    """Make upgrade.rollback: every proxy is of the old version and revision again, and nothing of the new one is left.

    Evidence: `cause`, `done`, table `proxies`, `new_before` and `new_left` (kind → how many).

    Args:
        old: What runs again.
        new: What was taken out.
        why: What made it roll back.
        done: What was taken back, in sentences.
        proxies: Every proxy of the mesh.
        ended: The new revision's objects, before the roll-back (the control) and now.
        clock: Of the wait; the real one where not given.

    Returns:
        The check.
    """
    if count(ended.before) == 0:
        return skipped(
            "upgrade.rollback", f"nothing had been changed when the upgrade ended: {why}", asked_for=True
        )
    problems = _not_on(old, proxies)
    left = _left(ended, clock)
    if count(left):
        problems.append(f"{count(left)} objects of revision {new.revision} are left: {_named(left)}")
    right = sum(proxy.revision == old.revision and proxy.version == old.version for proxy in proxies)
    return judged(
        "upgrade.rollback",
        problems,
        f"rolled back: {right} of {len(proxies)} proxies are {old}; of {new} {count(ended.before)} objects before, "
        f"{count(left)} after ({IN_A_ROW} looks in a row)",
        {"cause": why, "done": list(done)}
        | _evidence(proxies)
        | {"new_before": _counts(ended.before), "new_left": _counts(left)},
        remedy="restart or remove what is named; `istioctl proxy-status` tells which istiod serves a proxy",
    )


def rollback_failed(why: str, problem: str, remedy: str) -> CheckResult:
    """Make upgrade.rollback where the mesh could not be brought back.

    Args:
        why: What made it roll back.
        problem: What kept it from that.
        remedy: What to do.

    Returns:
        The check: a failure.
    """
    return failed("upgrade.rollback", [f"not rolled back: {problem}"], {"cause": why}, remedy=remedy)


def not_needed() -> CheckResult:
    """Make upgrade.rollback of an upgrade that went well."""
    return skipped("upgrade.rollback", "the upgrade went well, so nothing was rolled back", asked_for=True)


def _not_on(side: Side, proxies: Sequence[Proxy]) -> list[str]:
    if not proxies:
        return ["no proxy was found"]
    wrong = [p for p in proxies if (p.revision, p.version) != (side.revision, side.version)]
    told = ", ".join(f"{p.name} is {p.version or 'of unknown version'} ({p.revision or '?'})" for p in wrong)
    return [f"{pluralize(len(wrong), 'proxies')} of {len(proxies)} not {side}: {told}"] if wrong else []


def _left(ended: Ended, clock: Clock | None) -> Inventory:
    """What is there of a revision, at the end of a wait for nothing three times in a row."""
    looks: list[Inventory] = []

    def look() -> Inventory:
        looks.append(ended.look())
        return looks[-1]

    try:
        return wait(
            "nothing of the revision to be left",
            look,
            ready=lambda found: count(found) == 0,
            describe=_named,
            timeout=GONE_TIMEOUT,
            successes=IN_A_ROW,
            clock=clock,
        )
    except WaitTimeout:
        if not looks or count(looks[-1]) == 0:
            raise
        return looks[-1]


def _counts(inventory: Inventory) -> dict[str, int]:
    return {kind: len(names) for kind, names in inventory.items() if names}


def _named(inventory: Inventory) -> str:
    return ", ".join(f"{kind} {name}" for kind, names in inventory.items() for name in names) or "nothing"


def _evidence(proxies: Sequence[Proxy]) -> dict[str, object]:
    return {
        "proxies": [{"proxy": p.name, "version": p.version, "revision": p.revision} for p in proxies],
    }
