"""The rule about what may be called outside: REGISTRY_ONLY, where it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.istio_objects import in_root, oldest, selector, selects
from meshlab.security.audit.mends import mesh_fragment, whole
from meshlab.security.audit.model import Examined, Finding, Severity, named
from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import Place, place_of

RULE, CLOSED = "egress-policy", "REGISTRY_ONLY"


def egress_policy(inventory: Inventory) -> Examined:
    """Only declared destinations may be called: REGISTRY_ONLY, in the mesh's configuration or by Sidecars."""
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
    return Examined(len(sidecars) + 1, "Sidecars and the mesh's own policy", tuple(findings))


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
