"""An upgrade of Istio by revisions: what is to be moved, and moving a namespace.

Nothing is changed that is not in the ledger first, with what was there before; so what a killed run left can be taken
back by the ledger alone (`meshlab.istio.roll_back`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from meshlab.core.errors import IstioError, KubeError
from meshlab.core.waiting import Clock
from meshlab.istio.control_plane import ControlPlane, control_planes, objects_if_served
from meshlab.istio.injection import (
    API_VERSION,
    INJECTION_LABEL,
    KIND,
    REVISION_LABEL,
    called_for,
    made_by,
    selects,
    webhooks_in,
)
from meshlab.istio.inventory import COMPONENT_LABEL
from meshlab.istio.names import DEFAULT_REVISION
from meshlab.istio.revision import GATEWAY_COMPONENTS, proxies_of_revision, revision_name, running_proxies
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube
from meshlab.kube.restart import restart_workload
from meshlab.run.ledger import Entry, Ledger

# Kinds of the ledger's entries that are written here. retiring: the old revision is being removed, and nothing is taken
# back any more.
MOVED, REVISION, RETIRING = "moved", "revision", "retiring"
RESTARTED, UPGRADED = "restarted", "upgraded"  # notes of the ledger: workloads, and of which cluster
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
Labels = Mapping[str, str | None]  # None: the label is not there
REMEDY = "python -m flows.upgrade --help tells what can be upgraded"


@dataclass(frozen=True)
class Move:
    """A namespace that is to be moved. before: its two injection labels. workloads: that have sidecars."""

    namespace: str
    before: Labels
    workloads: tuple[ObjectRef, ...]


@dataclass(frozen=True)
class UpgradePlan:
    """What an upgrade does.

    home: the namespace of both control planes. old, new: revisions, with their versions. tags: that point at
    the old one, and will at the new one. moves: one by one, in this order. gateways: Deployments that istioctl
    installed, which the new revision takes over.
    """

    home: str
    old: str
    old_version: str
    new: str
    version: str
    tags: tuple[str, ...]
    moves: tuple[Move, ...]
    gateways: tuple[ObjectRef, ...]

    def labels_at_the_end(self, move: Move) -> Labels:
        """The labels of a namespace once the old revision is gone: as they were where a tag leads to the new one."""
        asked = move.before.get(REVISION_LABEL)
        if move.before.get(INJECTION_LABEL) is not None or asked in self.tags:
            return move.before
        return {INJECTION_LABEL: None, REVISION_LABEL: self.new}


def plan_upgrade(kube: Kube, old: ControlPlane, version: str, *, but: Sequence[str] = ()) -> UpgradePlan:
    """Find out what an upgrade has to move.

    Args:
        kube: Client of the cluster.
        old: The control plane that is to be replaced.
        version: Of Istio, that is to come.
        but: Namespaces that are moved in another way.

    Returns:
        The plan.

    Raises:
        IstioError: It can't be upgraded so; the text names every reason.
        KubeError: The cluster does not answer.
    """
    new, problems = revision_name(version), []
    webhooks = webhooks_in(objects_if_served(kube, API_VERSION, KIND))
    others = [plane for plane in control_planes(kube) if plane.revision not in (old.revision, new)]
    if old.revision == new or _same(old.version, version):
        problems.append(f"Istio {version} runs already, as revision {old.revision}")
    if others:
        names = ", ".join(f"{plane.revision} ({plane.version})" for plane in others)
        problems.append(f"other control planes run beside {old.revision}: {names}")
    moves, bare = [], []
    for each in sorted(kube.objects("v1", "Namespace"), key=lambda found: found["metadata"]["name"]):
        name, labels = each["metadata"]["name"], each["metadata"].get("labels") or {}
        if name in but or (old.revision, old.namespace) not in called_for(webhooks, labels, name):
            continue
        workloads, alone = meshed_workloads(kube, name)
        bare += alone
        before = {key: labels.get(key) for key in (INJECTION_LABEL, REVISION_LABEL)}
        moves.append(Move(name, before, workloads))
    gateways = _gateways(kube, old)
    if bare:
        problems.append(f"pods with sidecars that no workload makes anew: {', '.join(bare)}")
    places = {move.namespace for move in moves} | set(but) | {old.namespace}
    strays = [pod for pod in proxies_of_revision(kube, old.revision) if pod.partition("/")[0] not in places]
    if strays:
        problems.append(f"proxies in namespaces that ask for no sidecars: {', '.join(strays)}")
    if problems:
        raise IstioError(f"this mesh can't be upgraded: {'; '.join(problems)}", remedy=REMEDY)
    tags = dict.fromkeys(old.tags)
    if old.revision == DEFAULT_REVISION or any(move.before[INJECTION_LABEL] is not None for move in moves):
        tags[DEFAULT_REVISION] = None
    return UpgradePlan(
        old.namespace, old.revision, old.version, new, version, tuple(tags), tuple(moves), tuple(gateways)
    )  # fmt: skip


def _same(one: str, other: str) -> bool:
    return bool(one) and one.removeprefix("v") == other.removeprefix("v")


def meshed_workloads(
    kube: Kube, namespace: str, revisions: Collection[str] | None = None
) -> tuple[tuple[ObjectRef, ...], list[str]]:
    """Find the workloads of a namespace whose running pods have sidecars.

    Args:
        kube: Client of the cluster.
        namespace: The namespace.
        revisions: Only pods whose proxies these revisions made count; all where not given.

    Returns:
        The workloads, sorted, and such pods that belong to none of them.

    Raises:
        KubeError: They can't be listed.
    """
    left = {
        pod.name: pod
        for pod in running_proxies(kube, namespace)
        if revisions is None or made_by(pod) in revisions
    }
    found = []
    for kind in WORKLOADS:
        for each in kube.objects("apps/v1", kind, namespace):
            selector = each["spec"].get("selector") or {}
            mine = [name for name, pod in left.items() if selects(selector, pod.labels)]
            if mine:
                found.append(ObjectRef("apps/v1", kind, namespace, each["metadata"]["name"]))
                left = {name: pod for name, pod in left.items() if name not in mine}
    return tuple(sorted(found)), [f"{namespace}/{name}" for name in sorted(left)]


def _gateways(kube: Kube, old: ControlPlane) -> list[ObjectRef]:
    found = kube.objects("apps/v1", "Deployment", old.namespace)
    labelled = ((each["metadata"]["name"], each["metadata"].get("labels") or {}) for each in found)
    return [
        ObjectRef("apps/v1", "Deployment", old.namespace, name)
        for name, labels in labelled
        if labels.get(COMPONENT_LABEL) in GATEWAY_COMPONENTS
    ]


def move(
    kube: Kube,
    ledger: Ledger,
    one: Move,
    revision: str,
    *,
    timeout: float,
    check: Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> None:
    """Move a namespace: its label, then its workloads, one after the other.

    Args:
        kube: Client of the cluster.
        ledger: Where the namespace's labels are written down before they are changed.
        one: The namespace.
        revision: The one to which it moves.
        timeout: Seconds for the roll-out of each workload.
        check: Called after each workload; what it raises ends the move.
        clock: Of the waits; the real one where not given.

    Raises:
        RolloutError: A workload does not get Ready; the text names the cause.
        WaitTimeout: It took too long.
        KubeError: The API server refuses it.
    """
    intend_move(kube, ledger, one.namespace, one.before)
    relabel(kube, one.namespace, {INJECTION_LABEL: None, REVISION_LABEL: revision})
    for ref in one.workloads:
        ledger.note(RESTARTED, {str(ref): asdict(ref)})
        restart_workload(kube, ref, timeout=timeout, clock=clock)
        check()


def intend_move(kube: Kube, ledger: Ledger, namespace: str, before: Labels) -> None:
    """Write down that a namespace is about to be moved; what was written down before stays.

    Args:
        kube: Client of the cluster.
        ledger: Where it is written down.
        namespace: The namespace.
        before: Its two injection labels.
    """
    if not any(entry.kind == MOVED and entry.name == namespace for entry in ledger.entries()):
        ledger.intend(Entry(MOVED, namespace, kube.host, json.dumps({"before": dict(before)})))


def relabel(kube: Kube, namespace: str, labels: Labels) -> None:
    """Set or take away labels of a namespace.

    Args:
        kube: Client of the cluster.
        namespace: The namespace.
        labels: The labels; None takes one away.

    Raises:
        KubeError: The API server refuses it.
    """
    kube.patch("v1", "Namespace", namespace, {"metadata": {"labels": dict(labels)}})


def settle_labels(kube: Kube, plan: UpgradePlan) -> None:
    """Give the moved namespaces the labels that they keep, once the tags lead to the new revision.

    The ledger has them still: this can be taken back.

    Args:
        kube: Client of the cluster.
        plan: The upgrade.

    Raises:
        KubeError: The API server refuses it.
    """
    for one in plan.moves:
        relabel(kube, one.namespace, plan.labels_at_the_end(one))


def intend_revision(kube: Kube, ledger: Ledger, plan: UpgradePlan) -> None:
    """Write down that the new revision is about to be installed, and in which cluster.

    Args:
        kube: Client of the cluster.
        ledger: Where it is written down.
        plan: The upgrade.
    """
    ledger.note(UPGRADED, {"cluster": _identity(kube)})
    ledger.intend(Entry(REVISION, plan.new, kube.host, json.dumps({"home": plan.home, "old": plan.old})))


def owes(ledger: Ledger) -> bool:
    """Tell whether a ledger names an upgrade that is neither finished nor taken back, in whatever cluster.

    One whose old revision is being removed is not taken back any more.
    """
    kinds = {entry.kind for entry in ledger.entries()}
    return RETIRING not in kinds and bool(kinds & {MOVED, REVISION})


def entries_here(kube: Kube, ledger: Ledger, *kinds: str) -> list[Entry]:
    """List what a ledger has of an upgrade of this cluster.

    Args:
        kube: Client of the cluster.
        ledger: Of the run that upgraded.
        kinds: Of its entries.

    Returns:
        The entries; none where another cluster has the address now (a local lab that was made anew).
    """
    found = [entry for entry in ledger.entries() if entry.kind in kinds and entry.where == kube.host]
    cluster = str(ledger.noted(UPGRADED).get("cluster") or "") if found else ""
    return found if not cluster or _identity(kube) in ("", cluster) else []


def _identity(kube: Kube) -> str:
    """What makes a cluster itself: the uid of kube-system; "" where that may not be read."""
    try:
        found = kube.get("v1", "Namespace", "kube-system")
    except KubeError:
        return ""
    return str(found["metadata"].get("uid", "")) if found else ""
