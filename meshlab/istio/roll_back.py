"""How an upgrade ends by its ledger alone: taken back, or, past the point of no return, with the old revision removed.

What fails is told, and keeps nothing else from being tried: the workload that does not restart is often what the
upgrade is taken back for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from meshlab.core.errors import IstioError, MeshlabError
from meshlab.core.waiting import Clock, wait
from meshlab.istio.control_plane import control_planes
from meshlab.istio.injection import made_by
from meshlab.istio.revision import (
    proxies_of_revision,
    remove_revision,
    revision_inventory,
    running_proxies,
)
from meshlab.istio.upgrade import (
    MOVED,
    RESTARTED,
    RETIRING,
    REVISION,
    Labels,
    UpgradePlan,
    entries_here,
    meshed_workloads,
    owes,
    relabel,
)
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import KIND as CHANGE
from meshlab.kube.changes import restore_left
from meshlab.kube.client import Kube
from meshlab.kube.restart import restart_workload
from meshlab.run.ledger import Entry, Ledger


@dataclass(frozen=True)
class Ending:
    """What was done, in sentences, and what failed; the ledger keeps what is still to be done."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def owes_here(kube: Kube, ledger: Ledger) -> bool:
    """Tell whether a ledger names an upgrade of this cluster that is neither finished nor taken back.

    Args:
        kube: Client of the cluster.
        ledger: Of a run.

    Returns:
        True where it does.
    """
    return owes(ledger) and bool(entries_here(kube, ledger, MOVED, REVISION))


def take_back(
    kube: Kube,
    ledger: Ledger,
    *,
    timeout: float,
    client: str = "",
    move_client: Callable[[Labels], None] | None = None,
    before_removal: Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> Ending:
    """Roll an upgrade back by its ledger: tags and gateways, namespaces, the client's, and the new revision, in this order.

    Each is tried, whatever became of the others; the new revision is only removed once no proxy of it runs. May be
    called twice, and for a run that was killed.

    Args:
        kube: Client of the cluster.
        ledger: Of the run that upgraded.
        timeout: Seconds for the roll-out of each workload, and until no proxy of the new revision is left.
        client: The namespace that sends: it goes last, and its failure keeps nothing from being removed.
        move_client: Moves that one back, given its labels; where not given its workloads are restarted like others'.
        before_removal: Called when the other namespaces are back, and the new revision is still there.
        clock: Of the waits; the real one where not given.

    Returns:
        What was taken back, and what was not.

    Raises:
        KubeError: The cluster does not answer.
    """
    if not owes_here(kube, ledger):
        return Ending()
    revisions, moved = entries_here(kube, ledger, REVISION), entries_here(kube, ledger, MOVED)
    work = _TakeBack(kube, ledger, frozenset(entry.name for entry in revisions), timeout, clock)
    there = {plane.revision for plane in control_planes(kube)}
    old = {named for entry in revisions if (named := json.loads(entry.content).get("old"))}
    if there and (there <= work.new or not old <= there):
        told = ", ".join(sorted(there))
        return Ending(
            (), (f"of the control planes that are there ({told}) none is the old one: nothing leads back",)
        )
    # The tags are among these: a pod that is made anew must get its proxy from the old revision.
    whole = work.tried(work.changes)
    for entry in reversed(moved):
        if entry.name != client and not work.namespace(entry):
            whole = False
    if whole:
        work.tried(before_removal)
        spared = [each.name for each in moved if each.name == client and not work.client(each, move_client)]
        if work.tried(lambda: work.await_none(spared)):
            for entry in revisions:
                work.tried(partial(work.revision, entry))
    return work.ending()


class _TakeBack:
    """One roll-back: what it works on, and what became of it so far. new: the revisions that are taken out."""

    def __init__(
        self, kube: Kube, ledger: Ledger, new: frozenset[str], timeout: float, clock: Clock | None
    ) -> None:
        self.kube, self.ledger, self.new, self.timeout, self.clock = kube, ledger, new, timeout, clock
        self.done: list[str] = []
        self.failed: list[str] = []

    def ending(self) -> Ending:
        return Ending(tuple(self.done), tuple(self.failed))

    def tried(self, work: Callable[[], None], what: str = "") -> bool:
        try:
            work()
        except MeshlabError as problem:
            self.failed.append(f"{what}: {problem.message}" if what else problem.message)
            return False
        return True

    def changes(self) -> None:
        self.done += [f"{ref} put back" for ref in restore_left(self.kube, self.ledger, clock=self.clock)]

    def namespace(self, entry: Entry) -> bool:
        """Give a namespace its labels, and restart what runs otherwise by now; False while it is not back.

        A workload that does not get Ready although no pod of it is new any more is told, and done with.
        """
        try:
            refs = self.relabelled(entry)
            restarted = [self.tried(partial(self.restart, ref), str(ref)) for ref in refs]
            if not all(restarted) and self.pods_of_new(entry.name):
                return False
        except MeshlabError as problem:
            self.failed.append(f"namespace {entry.name}: {problem.message}")
            return False
        self.ledger.gone(entry)
        self.done.append(f"namespace {entry.name} moved back")
        return True

    def relabelled(self, entry: Entry) -> list[ObjectRef]:
        """Give a namespace its labels; what is to be restarted there. Nothing, where it is gone."""
        if self.kube.get("v1", "Namespace", entry.name) is None:
            return []
        relabel(self.kube, entry.name, json.loads(entry.content)["before"])
        return self.to_restart(entry.name)

    def to_restart(self, namespace: str) -> list[ObjectRef]:
        """Workloads whose template the upgrade changed, and those that have pods of the new revision by another's doing."""
        noted = [ObjectRef(**each) for each in self.ledger.noted(RESTARTED).values() if each]
        mine = [ref for ref in noted if ref.namespace == namespace]
        there = [each for each in mine if self.kube.get(each.api_version, each.kind, each.name, namespace)]
        return list(dict.fromkeys((*there, *meshed_workloads(self.kube, namespace, self.new)[0])))

    def restart(self, ref: ObjectRef) -> None:
        restart_workload(self.kube, ref, timeout=self.timeout, clock=self.clock)
        self.ledger.note(RESTARTED, {str(ref): None})

    def client(self, entry: Entry, move_client: Callable[[Labels], None] | None) -> bool:
        """Move the client's namespace back; it is struck in any case: it is ours, and goes with the run."""
        found = len(self.failed)
        if move_client is None:
            back = self.namespace(entry)
        else:
            move, before = move_client, json.loads(entry.content)["before"]
            back = self.tried(lambda: move(before))
            self.done += [f"namespace {entry.name} moved back"] if back else []
        noted, self.failed[found:] = self.failed[found:], []
        self.done += [f"the client in {entry.name}, which is removed at the end: {each}" for each in noted]
        self.ledger.gone(entry)
        return back

    def pods_of_new(self, namespace: str) -> list[str]:
        pods = running_proxies(self.kube, namespace)
        return [pod.name for pod in pods if made_by(pod) in self.new]

    def await_none(self, spared: Sequence[str]) -> None:
        wait(
            f"no proxy of revision {', '.join(sorted(self.new))}",
            lambda: [
                pod
                for revision in sorted(self.new)
                for pod in proxies_of_revision(self.kube, revision)
                if pod.partition("/")[0] not in spared
            ],
            ready=lambda left: not left,
            describe=lambda left: ", ".join(left) or "none",
            timeout=self.timeout,
            remedy="restart or remove what is named",
            clock=self.clock,
        )

    def revision(self, entry: Entry) -> None:
        home = json.loads(entry.content)["home"]
        removal = remove_revision(self.kube, entry.name, home, timeout=self.timeout)
        self.done.append(f"revision {entry.name} removed: {len(removal.removed)} objects")
        self.ledger.gone(entry)


def begin_retiring(kube: Kube, ledger: Ledger, plan: UpgradePlan) -> None:
    """Pass the point of no return: from here on the ledger asks for the old revision's removal, and for nothing else.

    Args:
        kube: Client of the cluster.
        ledger: Of the run that upgraded.
        plan: The upgrade.
    """
    content = {"home": plan.home, "new": plan.new}
    ledger.intend(Entry(RETIRING, plan.old, kube.host, json.dumps(content)))
    _no_way_back(kube, ledger)


def _no_way_back(kube: Kube, ledger: Ledger) -> None:
    for entry in entries_here(
        kube, ledger, CHANGE, REVISION, MOVED
    ):  # tags and gateways stay as they are now
        ledger.gone(entry)


def pass_no_return(kube: Kube, ledger: Ledger) -> None:
    """Strike what would lead back, where a run was cut off between its point of no return and that.

    Args:
        kube: Client of the cluster.
        ledger: Of the run.
    """
    if retires_here(kube, ledger):
        _no_way_back(kube, ledger)


def retires_here(kube: Kube, ledger: Ledger) -> bool:
    """Tell whether a ledger names an old revision of this cluster whose removal has begun.

    Args:
        kube: Client of the cluster.
        ledger: Of a run.

    Returns:
        True where it does.
    """
    return bool(entries_here(kube, ledger, RETIRING))


def retired(kube: Kube, ledger: Ledger) -> None:
    """Strike an old revision that is gone.

    Args:
        kube: Client of the cluster.
        ledger: Of the run that upgraded.
    """
    for entry in entries_here(kube, ledger, RETIRING):
        ledger.gone(entry)


def not_removed(kube: Kube, plan: UpgradePlan, problem: MeshlabError) -> IstioError:
    """Say what is left of an old revision that serves nothing any more, and how it goes.

    Args:
        kube: Client of the cluster.
        plan: The upgrade.
        problem: What its removal ended with.

    Returns:
        The error.
    """
    try:
        found = revision_inventory(kube, plan.old, plan.home)
        left = ", ".join(f"{kind} {name}" for kind, names in found.items() for name in names) or "nothing"
    except MeshlabError as silent:
        left = f"unknown ({silent.message})"
    return IstioError(
        f"every proxy is of revision {plan.new}, and revision {plan.old} could not be removed: "
        f"{problem.message}; left of it: {left}",
        remedy=f"the next run here that may change the mesh removes it; or: istioctl uninstall --revision={plan.old}",
    )


def finish_retiring(kube: Kube, ledger: Ledger, *, timeout: float) -> Ending:
    """Remove the old revision that a run had begun to remove, unless a proxy of it runs again, or nothing else serves.

    Args:
        kube: Client of the cluster.
        ledger: Of that run.
        timeout: Seconds until all of it is gone.

    Returns:
        What was done, and what was not.

    Raises:
        KubeError: The cluster does not answer.
    """
    _no_way_back(kube, ledger)
    work = _TakeBack(kube, ledger, frozenset(), timeout, None)
    there = {plane.revision for plane in control_planes(kube)}
    for entry in entries_here(kube, ledger, RETIRING):
        new = json.loads(entry.content).get("new")
        if not there - {entry.name} or (new and new not in there):
            # Somebody has installed Istio anew meanwhile: it is theirs.
            work.done.append(
                f"revision {entry.name} stays: the one that took its place is not there any more"
            )
            ledger.gone(entry)
        elif left := proxies_of_revision(kube, entry.name):
            work.failed.append(f"proxies of revision {entry.name} run: {', '.join(left)}")
        else:
            work.tried(partial(work.revision, entry))
    return work.ending()
