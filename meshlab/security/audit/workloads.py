"""Pods as the rules name and read them: by the workload that owns them, and without the mesh's own containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshlab.istio.control_plane import SIDECAR
from meshlab.security.audit.inventory import Inventory, Object

Container = Mapping[str, Any]
INIT = "istio-init"
MESH_CONTAINERS = (SIDECAR, INIT, "istio-validation", "enable-core-dump")  # put there by injection
HASH_LABEL = "pod-template-hash"


def workload_of(pod: Object) -> str:
    """`Kind namespace/name` of what owns a pod: its Deployment rather than its ReplicaSet; the pod itself if nothing does."""
    meta = pod["metadata"]
    owner = next((o for o in meta.get("ownerReferences") or [] if o.get("controller", True)), None)
    kind, name = (owner["kind"], owner["name"]) if owner else ("Pod", meta["name"])
    suffix = f"-{(meta.get('labels') or {}).get(HASH_LABEL, '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        kind, name = "Deployment", name.removesuffix(suffix)
    return f"{kind} {meta['namespace']}/{name}"


def is_meshed(pod: Object) -> bool:
    """Whether a proxy of the mesh runs in the pod: as a sidecar (of either kind), or as a gateway."""
    return any(each.get("name") == SIDECAR for each in all_containers(pod))


def all_containers(pod: Object) -> Iterator[Container]:
    """Every container of a pod, init containers first."""
    spec = pod.get("spec") or {}
    yield from spec.get("initContainers") or []
    yield from spec.get("containers") or []


def own_containers(pod: Object) -> Iterator[Container]:
    """The containers that are not the mesh's own. A gateway's proxy is the workload itself, so it is one of them."""
    every = list(all_containers(pod))
    others = [each for each in every if each.get("name") not in MESH_CONTAINERS]
    yield from others or every


def meshed_namespaces(inventory: Inventory) -> tuple[str, ...]:
    """Audited namespaces in which application pods have sidecars; the control plane's own is not one."""
    found = {pod["metadata"]["namespace"] for pod in inventory.running() if is_meshed(pod)}
    return tuple(sorted(found - {inventory.root}))
