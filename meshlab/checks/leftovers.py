"""Negative claims about what remains: each with the inventory that found things before as its positive control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from meshlab.checks.base import broken, failed, passed, skipped
from meshlab.core.errors import WaitTimeout
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, wait
from meshlab.run.results import CheckResult, Table

Inventory = Mapping[str, Sequence[str]]  # kind → names of the things of that kind that exist
IN_A_ROW = 3
LISTED = 40  # names of one kind that the evidence holds; the counts are of all


def uninstall_nothing_left(
    before: Inventory,
    left_by_purge: Inventory | None,
    inventory: Callable[[], Inventory],
    *,
    failure: str = "",
    keep: bool = False,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """Make uninstall.nothing-left: nothing of Istio is there after purge and our removal of the rest.

    It is made of an uninstall that failed, too: what is left is what counts, and it says both.

    Evidence: `before`, `left_by_purge`, `after` (kind → how many), the table `inventory`, and `failure`.

    Args:
        before: The inventory while Istio was installed, the control.
        left_by_purge: The inventory between purge and our removal; None of an uninstall that failed.
        inventory: Asks the cluster again; it must be empty three times in a row within `timeout` seconds
            (namespaces and their pods need a while to go).
        failure: Why the uninstall failed; "" where it did not.
        keep: The lab is left up on purpose.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        The check.
    """
    return _nothing_left(
        "uninstall.nothing-left",
        before,
        inventory,
        between=left_by_purge,
        between_name="left_by_purge",
        failure=failure,
        keep=keep,
        timeout=timeout,
        clock=clock,
        remedy="delete what is named; a namespace that stays Terminating names the cause in its status",
    )


def teardown_nothing_left(
    before: Inventory,
    inventory: Callable[[], Inventory],
    *,
    keep: bool = False,
    timeout: float = 15,
    clock: Clock | None = None,
) -> CheckResult:
    """Make teardown.nothing-left: nothing that the run made remains.

    Processes, mounts, namespaces, links, disks: whatever the provider counts. Evidence: `before`, `after`
    (kind → how many) and the table `inventory`.

    Args:
        before: The provider's inventory while the cluster was up, the control.
        inventory: Asks again, three times in a row.
        keep: The lab is left up on purpose.
        timeout: Seconds until the inventory is empty.
        clock: Of the wait; the real one where not given.

    Returns:
        The check.
    """
    return _nothing_left(
        "teardown.nothing-left",
        before,
        inventory,
        keep=keep,
        timeout=timeout,
        clock=clock,
        remedy="run the teardown again; it can be repeated and removes what is named here",
    )


def count(inventory: Inventory) -> int:
    """How many things an inventory names, over all kinds."""
    return sum(len(names) for names in inventory.values())


def _nothing_left(
    check_id: str,
    before: Inventory,
    inventory: Callable[[], Inventory],
    *,
    keep: bool,
    timeout: float,
    clock: Clock | None,
    remedy: str,
    between: Inventory | None = None,
    between_name: str = "",
    failure: str = "",
) -> CheckResult:
    if keep:
        return skipped(check_id, "the lab is kept (--keep)", asked_for=True)
    evidence: dict[str, object] = {"before": _counts(before), **({"failure": failure} if failure else {})}
    stages = [("before", before)]
    if between is not None:
        evidence[between_name] = _counts(between)
        stages.append((between_name, between))
    if count(before) == 0:
        return broken(
            check_id,
            "the same inventory found nothing before either",
            evidence,
            remedy="take the first inventory while everything still runs",
        )
    looks: list[Inventory] = []

    def look() -> Inventory:
        looks.append(inventory())
        return looks[-1]

    try:
        wait(
            f"an empty inventory ({check_id})",
            look,
            ready=lambda state: count(state) == 0,
            timeout=timeout,
            successes=IN_A_ROW,
            describe=lambda state: f"{pluralize(count(state), 'things')}: {_counts(state)}",
            clock=clock,
        )
    except WaitTimeout:
        if (
            not looks or count(looks[-1]) == 0
        ):  # it could not be asked three times in a row: no verdict about the mesh
            raise
    after = looks[-1]
    evidence |= {
        "after": _counts(after),
        "looks": len(looks),
        "inventory": _table([*stages, ("after", after)]),
    }
    found = f"{pluralize(count(before), 'things')} of {pluralize(len([k for k in before if before[k]]), 'kinds')} before"
    if count(after):
        kinds = [
            f"{kind} {', '.join(names[:5])}{' …' * (len(names) > 5)}"
            for kind, names in after.items()
            if names
        ]
        told = ", ".join(f"{kind} {n}" for kind, n in _counts(after).items() if n)
        problems = [f"{count(after)} left of {found}: {told}", *kinds]
        problems += [f"the removal itself failed: {failure}"] if failure else []
        return failed(check_id, problems, evidence, remedy=remedy)
    steps = f", {count(between)} left by the purge and removed" if between is not None else ""
    ended = f", though the removal itself failed: {failure}" if failure else ""
    return passed(check_id, f"{found}{steps}, 0 after ({IN_A_ROW} looks in a row){ended}", evidence)


def _counts(inventory: Inventory) -> dict[str, int]:
    return {kind: len(names) for kind, names in inventory.items()}


def _table(stages: Sequence[tuple[str, Inventory]]) -> Table:
    rows: Table = []
    for stage, inventory in stages:
        for kind, names in inventory.items():
            shown = list(names[:LISTED]) + [f"… and {len(names) - LISTED} more"] * (len(names) > LISTED)
            rows += [{"stage": stage, "kind": kind, "name": name} for name in shown]
    return rows
