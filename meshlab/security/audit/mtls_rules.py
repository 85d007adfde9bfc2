"""The rule about mutual TLS: STRICT for the whole mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.istio_objects import in_root, labels, oldest, selector
from meshlab.security.audit.mends import as_yaml, whole
from meshlab.security.audit.model import Examined, Finding, Severity, named
from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import meshed_namespaces

RULE, STRICT = "strict-mtls", "STRICT"
OPEN = ("PERMISSIVE", "DISABLE")


def strict_mtls(inventory: Inventory) -> Examined:
    """STRICT for the whole mesh, and no policy below it that lets plaintext in."""
    policies = inventory.of("PeerAuthentication")
    # Istio takes no notice of one with a selector in the root namespace, and of several for one scope the oldest rules.
    whole_mesh = oldest(p for p in policies if in_root(p, inventory) and not selector(p))
    below = [p for p in policies if not in_root(p, inventory) and (selector(p) or p is _ruling(policies, p))]
    findings = []
    mode = _mode(whole_mesh) or "PERMISSIVE"
    if mode != STRICT:
        name = whole_mesh["metadata"]["name"] if whole_mesh else "default"
        why = f"the mesh is {mode}: services take plaintext from anybody who reaches them"
        severity = Severity.ERROR
        strict = {p["metadata"]["namespace"] for p in below if not selector(p) and _mode(p) == STRICT}
        if strict and set(meshed_namespaces(inventory)) <= strict:
            severity = Severity.INFO  # all that is audited has a policy of its own
            why = f"the mesh is {mode}, and STRICT are by themselves: {', '.join(sorted(strict))}"
        fix = _strict(whole_mesh, always=True) if whole_mesh else _new(inventory.root, policies)
        findings.append(Finding(RULE, severity, f"PeerAuthentication {inventory.root}/{name}", why, fix))
    for policy in below:
        modes = {"": _mode(policy)} | {f" on port {port}": mode for port, mode in _ports(policy).items()}
        if open_ := [f"{mode}{where}" for where, mode in modes.items() if mode in OPEN]:
            about = {"namespace": policy["metadata"]["namespace"], **labels(selector(policy))}
            why = f"an exception from STRICT: {', '.join(open_)}"
            name = named("PeerAuthentication", policy)
            findings.append(Finding(RULE, Severity.WARNING, name, why, _strict(policy), about))
    ignored = len(policies) - len(below) - bool(whole_mesh)
    notes = (
        f"{ignored} that Istio takes no notice of, beside an older one or with a selector in the root namespace",
    )
    looked = "PeerAuthentications and the mesh's own mode"
    return Examined(len(policies) + 1, looked, tuple(findings), notes if ignored else ())


def _ruling(policies: Sequence[Object], like: Object) -> Object | None:
    """The one that rules the namespace of another."""
    home = like["metadata"]["namespace"]
    return oldest(p for p in policies if p["metadata"]["namespace"] == home and not selector(p))


def _mode(policy: Object | None) -> str:
    """The mode that a policy sets, empty where it leaves it to the one above."""
    mode = str((((policy or {}).get("spec") or {}).get("mtls") or {}).get("mode") or "")
    return "" if mode == "UNSET" else mode


def _ports(policy: Object) -> Mapping[str, str]:
    spec = policy.get("spec") or {}
    return {
        str(p): str((each or {}).get("mode", "")) for p, each in (spec.get("portLevelMtls") or {}).items()
    }


def _strict(policy: Object, *, always: bool = False) -> str:
    """The policy with STRICT in the place of each mode that is open; always: also where it sets no mode."""
    spec: dict[str, Any] = dict(policy.get("spec") or {})
    if always or _mode(policy) in OPEN:
        spec["mtls"] = {**(spec.get("mtls") or {}), "mode": STRICT}
    if any(mode in OPEN for mode in _ports(policy).values()):
        spec["portLevelMtls"] = {
            port: {**(each or {}), "mode": STRICT} if (each or {}).get("mode") in OPEN else each
            for port, each in spec["portLevelMtls"].items()
        }
    return whole(policy, spec)


def _new(root: str, policies: Sequence[Object]) -> str:
    """A policy for the whole mesh, under a name that none of the root namespace has."""
    taken = {p["metadata"]["name"] for p in policies if p["metadata"]["namespace"] == root}
    name = next(each for each in ("default", "strict", "mesh-wide-strict") if each not in taken)
    return as_yaml(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": name, "namespace": root},
            "spec": {"mtls": {"mode": STRICT}},
        }
    )
