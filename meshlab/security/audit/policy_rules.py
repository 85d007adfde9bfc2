"""Rules about who may call: mutual TLS and authorization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.security.audit.inventory import Inventory, Object
from meshlab.security.audit.istio_objects import again, in_root, labels, operator, selector
from meshlab.security.audit.model import Examined, Finding, Severity, as_yaml, named
from meshlab.security.audit.workloads import meshed_namespaces

NORMALISING = ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
SECURITY = "security.istio.io/v1"


def strict_mtls(inventory: Inventory) -> Examined:
    """STRICT for the whole mesh, and no policy below it that lets plaintext in."""
    policies = inventory.of("PeerAuthentication")
    whole = [p for p in policies if in_root(p, inventory) and not selector(p)]
    # Of several for the whole mesh istiod takes the oldest.
    ruling = min(whole, key=lambda p: str(p["metadata"].get("creationTimestamp", "")), default=None)
    findings = []
    mode = (_mode(ruling) if ruling else "") or "PERMISSIVE"
    if mode != "STRICT":
        name = ruling["metadata"]["name"] if ruling else "default"
        where = f"PeerAuthentication {inventory.root}/{name}"
        fix = _peer_authentication(inventory.root, name)
        why = f"the mesh is {mode}: services take plaintext from anybody who reaches them"
        severity, strict = Severity.ERROR, _strict_namespaces(policies)
        if strict and set(meshed_namespaces(inventory)) <= strict:
            severity = Severity.INFO  # all that is audited has a policy of its own
            why = f"the mesh is {mode}, and STRICT are by themselves: {', '.join(sorted(strict))}"
        findings.append(Finding("strict-mtls", severity, where, why, fix))
    for policy in policies:
        if policy in whole:
            continue
        spec = policy.get("spec") or {}
        modes = {"": _mode(policy)} | {
            f" on port {port}": str((each or {}).get("mode", ""))
            for port, each in (spec.get("portLevelMtls") or {}).items()
        }
        open_ = [f"{mode}{where}" for where, mode in modes.items() if mode in ("PERMISSIVE", "DISABLE")]
        if open_:
            findings.append(
                Finding(
                    "strict-mtls", Severity.WARNING, named("PeerAuthentication", policy),
                    f"an exception from STRICT: {', '.join(open_)}",
                    _peer_authentication(policy["metadata"]["namespace"], policy["metadata"]["name"], selector(policy)),
                    {"namespace": policy["metadata"]["namespace"], **labels(selector(policy))},
                )
            )  # fmt: skip
    return Examined(len(policies) + 1, "PeerAuthentications and the mesh's own mode", tuple(findings))


def default_deny(inventory: Inventory) -> Examined:
    """A policy that allows nothing, for the whole mesh or each namespace of it: what is not allowed is refused."""
    closed = {
        p["metadata"]["namespace"]
        for p in inventory.of("AuthorizationPolicy")
        if not selector(p) and _action(p) == "ALLOW" and not _rules(p) and not _targets(p)
    }
    namespaces = meshed_namespaces(inventory)
    findings = tuple(
        Finding(
            "default-deny",
            Severity.WARNING,
            f"Namespace {name}",
            "no policy refuses by default: a service that no policy names may be called by anybody",
            as_yaml(
                {
                    "apiVersion": SECURITY,
                    "kind": "AuthorizationPolicy",
                    "metadata": {"name": "allow-nothing", "namespace": name},
                    "spec": {},
                }
            ),
            {"namespace": name},
        )
        for name in namespaces
        if not {name, inventory.root} & closed
    )
    return Examined(len(namespaces), "namespaces with sidecars", findings)


def allow_all(inventory: Inventory) -> Examined:
    """No ALLOW rule that matches every request from everybody: an empty one, or one of nothing but `*`."""
    policies = [p for p in inventory.of("AuthorizationPolicy") if _action(p) == "ALLOW"]
    findings = []
    for policy in policies:
        if any(map(_asks_nothing, _rules(policy))):
            mended = [rule for rule in _rules(policy) if not _asks_nothing(rule)] or [
                {"from": [{"source": {"principals": ["cluster.local/ns/NAMESPACE/sa/CALLER"]}}]}
            ]
            spec = {**(policy.get("spec") or {}), "rules": mended}
            findings.append(
                Finding(
                    "allow-all", Severity.ERROR, named("AuthorizationPolicy", policy),
                    "a rule without a condition allows every request, from callers without an identity too",
                    again(policy, spec), {"namespace": policy["metadata"]["namespace"], **labels(selector(policy))},
                )
            )  # fmt: skip
    return Examined(len(policies), "ALLOW policies", tuple(findings))


def deny_by_path(inventory: Inventory) -> Examined:
    """Policies that refuse by path (DENY paths, ALLOW notPaths) need paths normalised: else `//` or `%2f` pass by."""
    mode = str((inventory.mesh.get("pathNormalization") or {}).get("normalization") or "DEFAULT")
    policies = inventory.of("AuthorizationPolicy")
    findings = []
    for policy in policies:
        key = {"DENY": "paths", "ALLOW": "notPaths"}.get(_action(policy))
        paths = [
            path
            for rule in _rules(policy)
            for to in (rule or {}).get("to") or []
            for path in ((to or {}).get("operation") or {}).get(key or "") or []
        ]
        if paths and mode not in NORMALISING:
            findings.append(
                Finding(
                    "deny-by-path", Severity.WARNING, named("AuthorizationPolicy", policy),
                    f"refuses by path ({', '.join(paths[:5])}) while the mesh's normalisation is {mode}: "
                    "another spelling of the same path passes by it",
                    as_yaml(operator({"pathNormalization": {"normalization": "DECODE_AND_MERGE_SLASHES"}})),
                    {
                        "namespace": policy["metadata"]["namespace"],
                        "path": next((p for p in paths if "*" not in p), ""),
                        **labels(selector(policy)),
                    },
                )
            )  # fmt: skip
    return Examined(len(policies), f"AuthorizationPolicies (normalisation {mode})", tuple(findings))


def _asks_nothing(rule: Mapping[str, Any] | None) -> bool:
    """Whether a rule holds for every request: no caller, no condition, and any operation."""
    said = rule or {}
    operations = [(to or {}).get("operation") or {} for to in said.get("to") or []]
    open_ = [
        all(not key.startswith("not") and {"*", "/*"} & {*values} for key, values in each.items())
        for each in operations
    ]
    return not said.get("from") and not said.get("when") and (not operations or any(open_))


def _strict_namespaces(policies: Sequence[Object]) -> set[str]:
    return {p["metadata"]["namespace"] for p in policies if not selector(p) and _mode(p) == "STRICT"}


def _mode(policy: Object) -> str:
    return str(((policy.get("spec") or {}).get("mtls") or {}).get("mode") or "")


def _action(policy: Object) -> str:
    return str((policy.get("spec") or {}).get("action") or "ALLOW")


def _rules(policy: Object) -> Sequence[Mapping[str, Any]]:
    return (policy.get("spec") or {}).get("rules") or []


def _targets(policy: Object) -> Sequence[Any]:
    spec = policy.get("spec") or {}
    return spec.get("targetRefs") or ([spec["targetRef"]] if spec.get("targetRef") else [])


def _peer_authentication(
    namespace: str, name: str = "default", chosen: Mapping[str, str] | None = None
) -> str:
    narrowed = {"selector": {"matchLabels": dict(chosen)}} if chosen else {}
    return as_yaml(
        {
            "apiVersion": SECURITY,
            "kind": "PeerAuthentication",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**narrowed, "mtls": {"mode": "STRICT"}},
        }
    )
