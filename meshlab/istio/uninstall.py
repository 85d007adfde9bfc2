"""Takes Istio out of a cluster: `istioctl uninstall --purge`, and then, as a step of its own, what that
leaves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

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
from meshlab.progress import Progress, Update, silent

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
    """Inventories of Istio's things: before, left_by_purge (between istioctl and our own removal) and after.

    removed: what our own step removed, `Kind name`. output: what istioctl printed. seconds: of both steps.
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
    progress: Progress = silent,
) -> UninstallResult:
    """Remove Istio and show that nothing of it is left. May run twice. timeout: seconds for each of the two
    steps.

    Only for an Istio that the run installed. Raises IstioError, KubeError, WaitTimeout naming what does not
    go.
    """
    start = time.monotonic()
    before = istio_inventory(kube)
    progress(Update("uninstall Istio", detail="istioctl uninstall --purge"))
    output = istioctl.uninstall_purge(timeout=timeout)
    kube.forget_discovery()
    left = istio_inventory(kube, going=False)
    progress(Update("uninstall Istio", detail="remove what the purge leaves"))
    # What the purge marked goes by itself; it is waited for along with the rest.
    removed = remove_leftovers(kube, istio_inventory(kube), timeout=timeout)
    after = istio_inventory(kube)
    return UninstallResult(before, left, after, removed, output, time.monotonic() - start)


def remove_leftovers(
    kube: Kube, left: Inventory, *, timeout: float, namespaces: Collection[str] | None = None
) -> tuple[str, ...]:
    """Remove what `istioctl uninstall --purge` leaves: istio-system, labels, ConfigMaps, leases, running
    sidecars.

    left: an inventory. namespaces: only there are pods restarted (None: everywhere). A pod with a sidecar is
    deleted, and its controller makes it anew without one, because the label went first. timeout: seconds
    until all of it is gone. Returns what was removed. Raises KubeError, WaitTimeout.
    """
    for namespace in left.get(LABEL, ()):
        unlabel_namespace(kube, namespace)
    refs = [_ref(kind, name) for kind in API_VERSIONS for name in left.get(kind, ())]
    # What is in a namespace that goes, goes with it.
    going = {ref.name for ref in refs if ref.kind == NAMESPACE}
    refs = [ref for ref in refs if ref.namespace not in going]
    meshed = set(left.get(SIDECARS, ()))
    for pod in kube.pods(None):
        if pod.namespace in going:
            ask_to_go(kube, pod)  # how long a namespace takes depends on the grace of its pods
        elif f"{pod.namespace}/{pod.name}" in meshed and (namespaces is None or pod.namespace in namespaces):
            refs.append(ask_to_go(kube, pod))
    gone = delete(kube, refs, timeout=timeout)
    return (*(f"{LABEL} {name}" for name in left.get(LABEL, ())), *(str(ref) for ref in gone))


def _ref(kind: str, name: str) -> ObjectRef:
    namespace, _, last = name.rpartition("/")
    return ObjectRef(API_VERSIONS.get(kind, "v1"), kind, namespace or None, last)
