"""Rules about the mesh itself: egress, injection, and the proxies' tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.core.text import pluralize
from meshlab.istio.control_plane import INJECTION_LABEL, REVISION_LABEL, SIDECAR
from meshlab.security.audit.inventory import Inventory, Object
from meshlab.security.audit.istio_objects import again, in_root, operator, selector
from meshlab.security.audit.model import Examined, Finding, Severity, as_yaml, named
from meshlab.security.audit.workloads import is_meshed, meshed_namespaces, workload_of

CLOSED = "REGISTRY_ONLY"
OPT_OUT = "sidecar.istio.io/inject"
AMBIENT_LABEL = "istio.io/dataplane-mode"
TOKEN_VOLUME, TOKEN_AUDIENCE = "istio-token", "istio-ca"


def egress_policy(inventory: Inventory) -> Examined:
    """Only declared destinations may be called: REGISTRY_ONLY, in the mesh's configuration or by Sidecars."""
    sidecars = inventory.of("Sidecar")
    whole = [s for s in sidecars if not selector(s)]
    mode = _outbound(inventory.mesh)
    mode = next((_egress(s) for s in whole if in_root(s, inventory) and _egress(s)), mode)
    closed = {s["metadata"]["namespace"] for s in whole if _egress(s) == CLOSED}
    findings = []
    open_ = [n for n in meshed_namespaces(inventory) if n not in closed]
    if mode != CLOSED and (open_ or not meshed_namespaces(inventory)):
        findings.append(
            Finding(
                "egress-policy", Severity.WARNING, f"MeshConfig {inventory.root}/istio",
                f"outboundTrafficPolicy is {mode}: pods may call any address ({', '.join(open_) or 'no sidecar yet'})",
                as_yaml(operator({"outboundTrafficPolicy": {"mode": CLOSED}})),
            )
        )  # fmt: skip
    for each in sidecars:
        if _egress(each) not in ("", CLOSED):
            spec = {**each["spec"], "outboundTrafficPolicy": {"mode": CLOSED}}
            why = f"opens egress for its workloads: {_egress(each)}"
            findings.append(
                Finding(
                    "egress-policy", Severity.WARNING, named("Sidecar", each), why, again(each, spec),
                    {"namespace": each["metadata"]["namespace"]},
                )
            )  # fmt: skip
    return Examined(len(sidecars) + 1, "Sidecars and the mesh's own policy", tuple(findings))


def sidecars_missing(inventory: Inventory) -> Examined:
    """Every pod of a namespace that asks for sidecars has one."""
    asking = [each["metadata"]["name"] for each in inventory.of("Namespace") if _injects(each)]
    pods = [pod for name in asking for pod in inventory.running(name)]
    found: dict[str, Finding] = {}
    for pod in pods:
        if is_meshed(pod):
            continue
        meta, workload = pod["metadata"], workload_of(pod)
        marks = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
        out = marks.get(OPT_OUT) == "false"
        why = "opted out of injection" if out else "was born without a sidecar"
        fix = as_yaml({"spec": {"template": {"metadata": {"labels": {OPT_OUT: "true"}}}}})
        about = {"namespace": meta["namespace"], "pod": meta["name"], **_address(pod)}
        found.setdefault(
            workload,
            Finding("sidecars", Severity.WARNING, workload, f"{why}: outside of every policy", fix, about),
        )
    return Examined(
        len(pods), f"pods in {pluralize(len(asking), 'namespaces')} with injection", tuple(found.values())
    )


def injection(inventory: Inventory) -> Examined:
    """Every audited namespace with pods asks for sidecars; the control plane's own does not."""
    looked = [
        each
        for each in inventory.of("Namespace")
        if each["metadata"]["name"] != inventory.root and inventory.running(each["metadata"]["name"])
    ]
    findings = []
    for each in looked:
        name = each["metadata"]["name"]
        if not _injects(each):
            fix = as_yaml(
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name, "labels": {INJECTION_LABEL: "enabled"}},
                }
            )
            pod = inventory.running(name)[0]
            about = {"namespace": name, "pod": pod["metadata"]["name"], **_address(pod)}
            why = f"{pluralize(len(inventory.running(name)), 'pods')} in it run, and it asks for no sidecars"
            findings.append(Finding("injection", Severity.WARNING, f"Namespace {name}", why, fix, about))
    return Examined(len(looked), "namespaces with pods", tuple(findings))


def first_party_tokens(inventory: Inventory) -> Examined:
    """Proxies prove who they are with a token made for istiod alone, not with the pod's token for the API."""
    pods = [pod for pod in inventory.running() if is_meshed(pod)]
    found: dict[str, Finding] = {}
    for pod in pods:
        if TOKEN_AUDIENCE not in _audiences(pod):
            found.setdefault(
                workload_of(pod),
                Finding(
                    "first-party-tokens",
                    Severity.WARNING,
                    workload_of(pod),
                    f"its proxy has no token for the audience {TOKEN_AUDIENCE}: it would use one that the API server takes",
                    as_yaml(
                        {
                            "apiVersion": "install.istio.io/v1alpha1",
                            "kind": "IstioOperator",
                            "spec": {"values": {"global": {"jwtPolicy": "third-party-jwt"}}},
                        }
                    ),
                ),
            )
    return Examined(len(pods), "pods with a proxy", tuple(found.values()))


def _audiences(pod: Object) -> set[str]:
    return {
        str((source.get("serviceAccountToken") or {}).get("audience", ""))
        for volume in (pod.get("spec") or {}).get("volumes") or []
        if volume.get("name") == TOKEN_VOLUME
        for source in (volume.get("projected") or {}).get("sources") or []
    }


def _outbound(holder: Mapping[str, Any]) -> str:
    return str((holder.get("outboundTrafficPolicy") or {}).get("mode") or "ALLOW_ANY")


def _egress(sidecar: Object) -> str:
    """The mode that a Sidecar sets, empty where it leaves the mesh's."""
    policy = (sidecar.get("spec") or {}).get("outboundTrafficPolicy")
    # A policy without a mode is its first value, REGISTRY_ONLY.
    return "" if policy is None else str(policy.get("mode") or CLOSED)


def _injects(namespace: Object) -> bool:
    labels = namespace["metadata"].get("labels") or {}
    return (
        labels.get(INJECTION_LABEL) == "enabled"
        or (bool(labels.get(REVISION_LABEL)) and labels.get(INJECTION_LABEL) != "disabled")
        or labels.get(AMBIENT_LABEL) == "ambient"
    )


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
