"""The rule about what may be called outside: REGISTRY_ONLY, where it holds, and who gets around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from meshlab.app.fence import directions
from meshlab.core.text import pluralize
from meshlab.security.audit.gateways import is_egress
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.istio_objects import in_root, oldest, selector, selects
from meshlab.security.audit.mends import as_yaml, mesh_fragment, whole
from meshlab.security.audit.model import Examined, Finding, Severity, named
from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import Place, place_of

RULE, CLOSED = "egress-policy", "REGISTRY_ONLY"
NETWORK_POLICY = "NetworkPolicy"
DNS_PORTS = (53, 5353, "dns", "dns-tcp")
WIDE = 7  # bits of the prefix: no block of private addresses is wider (RFC 1918, RFC 4193)
NARROW = {4: 24, 6: 64}  # version of IP → bits of the prefix from which on a block is a named destination
KEPT_IN = "what leaves the cluster then goes through the egress gateway; add what else these pods call, such as the API server"


def egress_policy(inventory: Inventory) -> Examined:
    """Only declared destinations may be called: REGISTRY_ONLY, and where there is an egress gateway nobody gets around it."""
    sidecars = inventory.of("Sidecar")
    mode = str((inventory.mesh.get("outboundTrafficPolicy") or {}).get("mode") or "ALLOW_ANY")
    findings = []
    pods = [pod for pod in inventory.running() if place_of(pod) in (Place.SIDECAR, Place.NATIVE)]
    apps = [pod for pod in pods if pod["metadata"]["namespace"] != inventory.root]
    open_ = sorted({p["metadata"]["namespace"] for p in apps if not _own_policy(p, sidecars, inventory)})
    if mode != CLOSED and (open_ or not apps):
        why = f"outboundTrafficPolicy is {mode}: pods may call any address ({', '.join(open_) or 'no sidecar yet'})"
        fix = mesh_fragment(outboundTrafficPolicy={"mode": CLOSED})
        findings.append(Finding(RULE, Severity.WARNING, inventory.mesh_name, why, fix))
    for each in sidecars:
        if _egress(each) not in ("", CLOSED):
            fix = _closed(each)
            why = f"opens egress for its workloads: {_egress(each)}"
            about = {"namespace": each["metadata"]["namespace"]}
            findings.append(Finding(RULE, Severity.WARNING, named("Sidecar", each), why, fix, about))
    around, notes = _ways_around(inventory, mode, apps, sidecars)
    looked = "Sidecars and the mesh's own policy"
    return Examined(len(sidecars) + 1, looked, (*findings, *around), notes)


def _ways_around(
    inventory: Inventory, mode: str, pods: Sequence[Object], sidecars: Sequence[Object]
) -> tuple[list[Finding], tuple[str, ...]]:
    """Where an egress gateway is used and sidecars are closed: namespaces whose pods can walk around it, and notes.

    A sidecar holds what passes through it only: a NetworkPolicy must hold the pods.
    """
    if not any(is_egress(each, inventory) for each in inventory.of("Gateway")):
        return [], ()
    if NETWORK_POLICY in inventory.unreadable:
        return [], (
            f"whether pods can get around the egress gateway: {inventory.unreadable[NETWORK_POLICY]}",
        )
    closing = [each for each in inventory.of(NETWORK_POLICY) if "Egress" in directions(each)]
    free: dict[str, list[str]] = {}
    for pod in pods:
        chosen = [each for each in closing if _chooses(each, pod)]  # their rules add up
        held = bool(chosen) and not any(_lets_out(rule) for each in chosen for rule in _rules(each))
        if (_own_policy(pod, sidecars, inventory) or mode) == CLOSED and not held:
            free.setdefault(pod["metadata"]["namespace"], []).append(pod["metadata"]["name"])
    return [
        Finding(
            RULE,
            Severity.WARNING,
            f"Namespace {namespace}",
            f"{pluralize(len(names), 'pods')} can get around the egress gateway ({', '.join(sorted(names)[:3])}): no "
            "NetworkPolicy holds what does not pass through their sidecars; egress.no-bypass shows such a policy at work",
            as_yaml(_kept_in(namespace), how=KEPT_IN),
            {"namespace": namespace, "around": "true"},
        )
        for namespace, names in sorted(free.items())
    ], ()


def _chooses(policy: Object, pod: Object) -> bool:
    """Whether a NetworkPolicy is for a pod."""
    if policy["metadata"]["namespace"] != pod["metadata"]["namespace"]:
        return False
    chosen = (policy.get("spec") or {}).get("podSelector") or {}
    labels = pod["metadata"].get("labels") or {}
    return (chosen.get("matchLabels") or {}).items() <= labels.items() and all(
        _meets(term, labels) for term in chosen.get("matchExpressions") or ()
    )


def _rules(policy: Object) -> Sequence[Mapping[str, Any]]:
    return (policy.get("spec") or {}).get("egress") or ()


def _lets_out(rule: Mapping[str, Any]) -> bool:
    """Whether a rule lets a pod reach what is outside: anybody but for DNS, or a wide block of public addresses."""
    if not rule.get("to"):
        ports = [each.get("port") for each in rule.get("ports") or ()]
        return not ports or any(port not in DNS_PORTS for port in ports)
    blocks = [ip_network(peer["ipBlock"]["cidr"], strict=False) for peer in rule["to"] if "ipBlock" in peer]
    # A narrow one is a destination that its owner has named, such as a database.
    return any(
        each.prefixlen < WIDE or (not each.is_private and each.prefixlen < NARROW[each.version])
        for each in blocks
    )


def _meets(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """One expression of a label selector, as Kubernetes reads it."""
    key, values = str(term["key"]), term.get("values") or ()
    return {
        "In": labels.get(key) in values and key in labels,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[str(term["operator"])]


def _kept_in(namespace: str) -> Object:
    """A policy that lets the pods of a namespace reach the cluster's, and DNS, and nothing outside."""
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": NETWORK_POLICY,
        "metadata": {"name": "out-by-the-egress-gateway", "namespace": namespace},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"namespaceSelector": {}}]}, {"ports": ports}],
        },
    }


def _closed(sidecar: Object) -> str:
    """The Sidecar with REGISTRY_ONLY. Istio takes an egress proxy with ALLOW_ANY only."""
    policy = dict(sidecar["spec"]["outboundTrafficPolicy"])
    proxied = policy.pop("egressProxy", None) is not None
    how = "kubectl replace -f FILE: a merge can't take egressProxy away, which Istio refuses beside REGISTRY_ONLY"
    spec = {**sidecar["spec"], "outboundTrafficPolicy": {**policy, "mode": CLOSED}}
    return whole(sidecar, spec, how if proxied else "")


def _own_policy(pod: Object, sidecars: Sequence[Object], inventory: Inventory) -> str:
    """The mode that the pod's Sidecar sets; empty where the mesh's holds for it.

    One Sidecar holds for a pod, and it inherits nothing from another: one that selects the pod, else its namespace's,
    else the root namespace's.
    """
    near = [s for s in sidecars if s["metadata"]["namespace"] == pod["metadata"]["namespace"]]
    picked = (
        oldest(s for s in near if selector(s) and selects(selector(s), pod))
        or oldest(s for s in near if not selector(s))
        or oldest(s for s in sidecars if in_root(s, inventory) and not selector(s))
    )
    return _egress(picked) if picked else ""


def _egress(sidecar: Mapping[str, Any]) -> str:
    """The mode that a Sidecar sets, empty where it leaves it to the mesh's configuration."""
    policy = (sidecar.get("spec") or {}).get("outboundTrafficPolicy")
    # A policy without a mode is its first value, REGISTRY_ONLY.
    return "" if policy is None else str(policy.get("mode") or CLOSED)
