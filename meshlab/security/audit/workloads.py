"""Pods as the rules name and read them: the workload that owns them, their own containers, and their place in the mesh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from meshlab.istio.control_plane import INJECTION_LABEL, REVISION_LABEL, SIDECAR
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.objects import Object

Container = Mapping[str, Any]
INIT = "istio-init"
MESH_CONTAINERS = (SIDECAR, INIT, "istio-validation", "enable-core-dump")  # put there by injection
HASH_LABEL = "pod-template-hash"
OPT_OUT = "sidecar.istio.io/inject"
AMBIENT_LABEL = "istio.io/dataplane-mode"  # of a namespace or of a pod: ambient, or none
CAPTURED = "ambient.istio.io/redirection"  # written by Istio's node agent: enabled
CNI_LABEL = ("k8s-app", "istio-cni-node")


class Place(StrEnum):
    """What a pod is to the mesh."""

    SIDECAR = "a sidecar"
    NATIVE = "a native sidecar"  # an init container that stays (restartPolicy Always)
    GATEWAY = "a gateway"  # of Istio's own API or of gateway.networking.k8s.io
    WAYPOINT = "a waypoint"
    ZTUNNEL = "ztunnel"
    NODE_AGENT = "Istio's node agent"
    CAPTURED = "captured by ztunnel"
    HOST_NETWORK = "on its node's network"  # never injected, never captured
    OUTSIDE = "outside of the mesh"


PROXIES = (Place.SIDECAR, Place.NATIVE, Place.GATEWAY, Place.WAYPOINT, Place.ZTUNNEL)
APPLICATIONS = (
    Place.SIDECAR,
    Place.NATIVE,
    Place.CAPTURED,
)  # applications that the mesh's policies are held for
INFRASTRUCTURE = (Place.ZTUNNEL, Place.NODE_AGENT)  # need their node's powers to do what they are for
IN_MESH = (*PROXIES, Place.CAPTURED)


def place_of(pod: Object) -> Place:
    """What a pod is to the mesh, by its containers and by what Istio's node agent wrote on it."""
    spec, meta = pod.get("spec") or {}, pod["metadata"]
    # After `proxy` a proxy's arguments name its role; injection writes `sidecar`.
    roles = {Place.GATEWAY: "router", Place.WAYPOINT: "waypoint", Place.ZTUNNEL: "ztunnel"}
    for container in spec.get("containers") or []:
        if container.get("name") == SIDECAR:
            asked = container.get("args") or []
            return next((place for place, word in roles.items() if word in asked[:2]), Place.SIDECAR)
    for container in spec.get("initContainers") or []:
        if container.get("name") == SIDECAR and container.get("restartPolicy") == "Always":
            return Place.NATIVE
    if (meta.get("labels") or {}).get(CNI_LABEL[0]) == CNI_LABEL[1]:
        return Place.NODE_AGENT
    if spec.get("hostNetwork"):
        return Place.HOST_NETWORK
    captured = (meta.get("annotations") or {}).get(CAPTURED) == "enabled"
    return Place.CAPTURED if captured else Place.OUTSIDE


def is_meshed(pod: Object) -> bool:
    """Whether the mesh takes what comes to the pod: by a proxy of any kind in it, or by ztunnel."""
    return place_of(pod) in IN_MESH


def has_proxy(pod: Object) -> bool:
    """Whether a proxy of the mesh runs in the pod."""
    return place_of(pod) in PROXIES


def asks_for(namespace: Object) -> str:
    """What a namespace asks for its pods: `sidecars`, `ambient`, or nothing (empty)."""
    labels = namespace["metadata"].get("labels") or {}
    # `istio-injection: disabled` outranks a revision.
    wanted = labels.get(INJECTION_LABEL) or ("enabled" if labels.get(REVISION_LABEL) else "")
    if wanted == "enabled":
        return "sidecars"
    return "ambient" if labels.get(AMBIENT_LABEL) == "ambient" else ""


def workload_of(pod: Object) -> str:
    """`Kind namespace/name` of what owns a pod: its Deployment rather than its ReplicaSet; the pod itself if nothing does."""
    meta = pod["metadata"]
    owner = next((o for o in meta.get("ownerReferences") or [] if o.get("controller", True)), None)
    kind, name = (owner["kind"], owner["name"]) if owner else ("Pod", meta["name"])
    suffix = f"-{(meta.get('labels') or {}).get(HASH_LABEL, '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        kind, name = "Deployment", name.removesuffix(suffix)
    return f"{kind} {meta['namespace']}/{name}"


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
    """Audited namespaces with applications in the mesh, by sidecars or ztunnel; the control plane's own is not one."""
    found = {pod["metadata"]["namespace"] for pod in inventory.running() if place_of(pod) in APPLICATIONS}
    return tuple(sorted(found - {inventory.root}))
