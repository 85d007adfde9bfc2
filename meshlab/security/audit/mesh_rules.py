"""Rules about who is in the mesh: pods and namespaces, and the proxies' tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.core.text import pluralize
from meshlab.istio.control_plane import INJECTION_LABEL, REVISION_LABEL, SIDECAR
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.mends import as_yaml, patch, whole
from meshlab.security.audit.model import Examined, Finding, Severity
from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import (
    AMBIENT_LABEL,
    IN_MESH,
    OPT_OUT,
    Place,
    asks_for,
    has_proxy,
    place_of,
    workload_of,
)

TOKEN_VOLUME, TOKEN_AUDIENCE = "istio-token", "istio-ca"
NEVER = (Place.HOST_NETWORK, Place.NODE_AGENT)  # no namespace's label brings these into the mesh
# What a namespace asks for → why a pod of it is outside, and the label that brings it in.
OUTSIDE = {
    "sidecars": ("started without a sidecar", {OPT_OUT: "true"}),
    "ambient": ("is not captured by ztunnel", {AMBIENT_LABEL: "ambient"}),
}


def sidecars_missing(inventory: Inventory) -> Examined:
    """Every pod of a namespace that asks for the mesh is in it: by its sidecar, or by ztunnel where it asks for that."""
    asking = {
        each["metadata"]["name"]: asks_for(each) for each in inventory.of("Namespace") if asks_for(each)
    }
    pods = [pod for name in asking for pod in inventory.running(name)]
    found: dict[str, Finding] = {}
    for pod in pods:
        if place_of(pod) is not Place.OUTSIDE:
            continue
        meta, workload = pod["metadata"], workload_of(pod)
        why, label = OUTSIDE[asking[meta["namespace"]]]
        marks = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
        if marks.get(OPT_OUT) == "false" or marks.get(AMBIENT_LABEL) == "none":
            why = "opted out of the mesh"
        about = {"namespace": meta["namespace"], "pod": meta["name"], **_address(pod)}
        fix = patch(pod, {}, labels=label)
        why = f"{why}: outside of every policy"
        found.setdefault(workload, Finding("sidecars", Severity.WARNING, workload, why, fix, about))
    ways = Counter(asking.values())
    asked = " and ".join(f"{count} that ask for {what}" for what, count in sorted(ways.items()))
    what = f"pods in {pluralize(len(asking), 'namespaces')} of the mesh"
    notes = (f"namespaces: {asked}", *_places(pods)) if asking else ()
    return Examined(len(pods), what, tuple(found.values()), notes)


def injection(inventory: Inventory) -> Examined:
    """Every audited namespace with applications asks for the mesh; the control plane's own does not."""
    looked = []
    for each in inventory.of("Namespace"):
        name = each["metadata"]["name"]
        if name not in inventory.system and any(place_of(p) not in NEVER for p in inventory.running(name)):
            looked.append(each)
    findings = []
    for each in looked:
        name, meta = each["metadata"]["name"], each["metadata"]
        outside = [p for p in inventory.running(name) if place_of(p) not in (*IN_MESH, *NEVER)]
        # Pods may ask for themselves, as gateways do.
        if not asks_for(each) and outside:
            labels = meta.get("labels") or {}
            # `istio-injection: disabled` outranks the label of a revision.
            wanted = (
                {REVISION_LABEL: inventory.tag} if inventory.tag and INJECTION_LABEL not in labels else None
            )
            fix = whole(each, labels={**labels, **(wanted or {INJECTION_LABEL: "enabled"})})
            pod = outside[0]
            about = {"namespace": name, "pod": pod["metadata"]["name"], **_address(pod)}
            why = f"{pluralize(len(outside), 'pods')} in it run outside of the mesh, and it does not ask for sidecars"
            findings.append(Finding("injection", Severity.WARNING, f"Namespace {name}", why, fix, about))
    return Examined(len(looked), "namespaces with pods", tuple(findings))


def first_party_tokens(inventory: Inventory) -> Examined:
    """Proxies prove who they are with a token made for istiod alone, not with the pod's token for the API."""
    pods = [pod for pod in inventory.running() if has_proxy(pod)]
    why = f"its proxy has no token for the audience {TOKEN_AUDIENCE}: it would use one that the API server takes"
    how = "merge into the Helm values, or spec.values of the IstioOperator, install again and restart the workload"
    fix = as_yaml({"global": {"jwtPolicy": "third-party-jwt"}}, how=how)
    found = {
        workload_of(pod): Finding("first-party-tokens", Severity.WARNING, workload_of(pod), why, fix)
        for pod in pods
        if TOKEN_AUDIENCE not in _audiences(pod)
    }
    return Examined(len(pods), "pods with a proxy", tuple(found.values()))


def _places(pods: Iterable[Object]) -> tuple[str, ...]:
    """What the pods are to the mesh, so that a pass does not hide those that it leaves out."""
    counts = Counter(place_of(pod) for pod in pods)
    told = [f"{count} {place.value}" for place, count in sorted(counts.items())]
    return (f"pods by what they are: {', '.join(told)}",) if told else ()


def _audiences(pod: Object) -> set[str]:
    return {
        str((source.get("serviceAccountToken") or {}).get("audience", ""))
        for volume in (pod.get("spec") or {}).get("volumes") or []
        if volume.get("name") == TOKEN_VOLUME
        for source in (volume.get("projected") or {}).get("sources") or []
    }


def _address(pod: Object) -> dict[str, str]:
    """Where a request reaches the pod: its address and first TCP port, empty where it has none."""
    ip = (pod.get("status") or {}).get("podIP", "")
    ports = _ports((pod.get("spec") or {}).get("containers") or [])
    return {"ip": ip, "port": str(ports[0])} if ip and ports else {}


def _ports(containers: Iterable[Mapping[str, Any]]) -> list[int]:
    return [
        port["containerPort"]
        for container in containers
        if container.get("name") != SIDECAR
        for port in container.get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    ]
