"""Takes Istio out of a cluster: `istioctl uninstall --purge`, then the removal of what that leaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from meshlab.core.progress import Progress, Update, silent
from meshlab.istio.control_plane import unlabel_namespace
from meshlab.istio.inventory import (
    CLUSTER_KINDS,
    COMPONENT_KINDS,
    CONFIG_MAP,
    LABEL,
    LEASE,
    NAMESPACE,
    SIDECARS,
    istio_inventory,
)
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.sidecars import ask_to_go
from meshlab.kube.apply import ObjectRef, delete
from meshlab.kube.client import Kube

log = logging.getLogger(__name__)
Inventory = Mapping[str, tuple[str, ...]]
API_VERSIONS = {
    **{kind: api_version for kind, api_version, _ in CLUSTER_KINDS},
    **dict(COMPONENT_KINDS),
    NAMESPACE: "v1",
    CONFIG_MAP: "v1",
    LEASE: "coordination.k8s.io/v1",
}


@dataclass(frozen=True)
class UninstallResult:
    """Inventories of Istio's objects: before, left_by_purge (after istioctl, before the removal here) and after.

    removed: what was removed here, `Kind name`. output: what istioctl printed. seconds: of both steps.
    """

    before: Inventory
    left_by_purge: Inventory
    after: Inventory
    removed: tuple[str, ...]
    output: str
    seconds: float


def uninstall(
    kube: Kube,
    istioctl: Istioctl,
    *,
    timeout: float = 180,
    before: Inventory | None = None,
    namespaces: Collection[str] | None = None,
    progress: Progress = silent,
) -> UninstallResult:
    """Remove Istio and show that nothing of it is left. It may run twice. Only for an Istio that the run installed.

    Args:
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        timeout: Seconds for each of the two steps.
        before: The inventory from before, where an interrupted call may have removed a part already; taken now
            where not given.
        namespaces: Those that the run labelled, on a cluster that others use, too; all where not given.
        progress: Gets what is being done.

    Returns:
        What was there, and what is left.

    Raises:
        IstioError: istioctl failed.
        KubeError: The API server refuses it.
        WaitTimeout: An object does not go; the text names it.
    """
    start = time.monotonic()
    before = istio_inventory(kube) if before is None else before
    progress(Update("uninstall Istio", detail="istioctl uninstall --purge"))
    output = istioctl.uninstall_purge(timeout=timeout)
    kube.forget_discovery()
    left = istio_inventory(kube, going=False)
    progress(Update("uninstall Istio", detail="remove what the purge leaves"))
    # What the purge marked goes by itself; it is waited for along with the rest.
    removed = remove_leftovers(kube, istio_inventory(kube), timeout=timeout, namespaces=namespaces)
    after = istio_inventory(kube)
    return UninstallResult(before, left, after, removed, output, time.monotonic() - start)


def remove_leftovers(
    kube: Kube, left: Inventory, *, timeout: float, namespaces: Collection[str] | None = None
) -> tuple[str, ...]:
    """Remove what `istioctl uninstall --purge` leaves: istio-system, labels, ConfigMaps, leases, running sidecars.

    A pod with a sidecar is deleted, and its controller makes it anew without one, because the label went first.

    Args:
        kube: Client of the cluster.
        left: An inventory of what is there.
        timeout: Seconds until all of it is gone.
        namespaces: Only these lose their label and get their pods restarted; all where not given.

    Returns:
        What was removed, as `Kind name`.

    Raises:
        KubeError: The API server refuses it.
        WaitTimeout: An object does not go; the text names it.
    """
    labelled = [name for name in left.get(LABEL, ()) if namespaces is None or name in namespaces]
    for namespace in labelled:
        unlabel_namespace(kube, namespace)
    refs = [_ref(kind, name) for kind in API_VERSIONS for name in left.get(kind, ())]
    # What is in a namespace that goes, goes with it.
    going = {ref.name for ref in refs if ref.kind == NAMESPACE}
    refs = [ref for ref in refs if ref.namespace not in going]
    meshed = set(left.get(SIDECARS, ()))
    restarted: list[ObjectRef] = []
    for pod in kube.pods(None):
        labelled_here = namespaces is None or pod.namespace in namespaces
        if pod.namespace not in going and labelled_here and f"{pod.namespace}/{pod.name}" in meshed:
            restarted.append(ask_to_go(kube, pod))
    for namespace in going:
        _empty(kube, namespace, timeout)
    gone = delete(kube, [*refs, *restarted], timeout=timeout)
    removed = dict.fromkeys([*restarted, *gone])
    return (*(f"{LABEL} {name}" for name in labelled), *map(str, removed))


def _empty(kube: Kube, namespace: str, timeout: float) -> None:
    """Let the pods of a namespace go before it does.

    The namespace controller sleeps half of the longest grace that a pod's spec names, 15 s and more, when it
    finds one (estimateGracefulTermination in its deletion/namespaced_resources_deleter.go).
    """
    for kind in ("Deployment", "DaemonSet", "StatefulSet"):
        for each in kube.objects("apps/v1", kind, namespace):
            kube.delete("apps/v1", kind, each["metadata"]["name"], namespace, foreground=False)
    delete(kube, [ask_to_go(kube, pod) for pod in kube.pods(namespace)], timeout=timeout)


def _ref(kind: str, name: str) -> ObjectRef:
    namespace, _, last = name.rpartition("/")
    return ObjectRef(API_VERSIONS.get(kind, "v1"), kind, namespace or None, last)
