"""Rules about who may call: authorization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.security.audit.gateways import is_path
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.istio_objects import labels, selector
from meshlab.security.audit.mends import as_yaml, mesh_fragment, whole
from meshlab.security.audit.model import Examined, Finding, Severity, named
from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import meshed_namespaces

NORMALISING = ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
DRY_RUN = "istio.io/dry-run"
TRUE = ("1", "t", "T", "TRUE", "true", "True")  # as Go reads a boolean
# Values of an operation's field that hold for every request.
ANY = {"paths": ("*", "/*", "/{**}")}
WHOLE_NETWORK = "/0"  # ends an address range that holds every address


def default_deny(inventory: Inventory) -> Examined:
    """A policy for the whole mesh, or for each namespace of it, under which is refused what nothing allows."""
    policies = inventory.of("AuthorizationPolicy")
    closed = {p["metadata"]["namespace"] for p in policies if not is_dry(p) and _refuses_by_default(p)}
    namespaces = meshed_namespaces(inventory)
    findings = tuple(
        Finding(
            "default-deny",
            Severity.WARNING,
            f"Namespace {name}",
            "no policy refuses by default: a service that no policy names may be called by anybody",
            _allow_nothing(name, [p for p in policies if p["metadata"]["namespace"] == name]),
            {"namespace": name},
        )
        for name in namespaces
        if not {name, inventory.root} & closed
    )
    notes = _dry_notes(policies)
    return Examined(len(namespaces), "namespaces with applications in the mesh", findings, notes)


def allow_all(inventory: Inventory) -> Examined:
    """No ALLOW rule that matches every request from everybody: an empty one, or one of nothing but `*`."""
    every = inventory.of("AuthorizationPolicy")
    policies = [p for p in every if _action(p) == "ALLOW" and not is_dry(p)]
    findings = []
    for policy in policies:
        if any(map(_asks_nothing, _rules(policy))):
            spec = {**(policy.get("spec") or {}), "rules": _narrowed(_rules(policy), inventory)}
            why = "a rule without a condition allows every request, from callers without an identity too"
            name = named("AuthorizationPolicy", policy)
            about = {"namespace": policy["metadata"]["namespace"], **labels(selector(policy))}
            how = "put the callers that are meant in the place of NAMESPACE and CALLER"
            findings.append(Finding("allow-all", Severity.ERROR, name, why, whole(policy, spec, how), about))
    return Examined(len(policies), "ALLOW policies", tuple(findings), _dry_notes(every))


def deny_by_path(inventory: Inventory) -> Examined:
    """Policies that refuse by path (DENY paths, ALLOW notPaths) need paths normalised: else `//` or `%2f` pass by."""
    mode = str((inventory.mesh.get("pathNormalization") or {}).get("normalization") or "DEFAULT")
    policies = [p for p in inventory.of("AuthorizationPolicy") if not is_dry(p)]
    findings = []
    for policy in policies:
        key = {"DENY": "paths", "ALLOW": "notPaths"}.get(_action(policy), "")
        paths = [
            path for rule in _rules(policy) for each in _operations(rule) for path in each.get(key) or []
        ]
        if paths and mode not in NORMALISING:
            why = (
                f"refuses by path ({', '.join(paths[:5])}) while the mesh's normalisation is {mode}: "
                "another spelling of the same path passes by it"
            )
            about = {
                "namespace": policy["metadata"]["namespace"],
                "path": next((p for p in paths if "*" not in p and is_path(p)), ""),
                **labels(selector(policy)),
            }
            fix = mesh_fragment(pathNormalization={"normalization": "DECODE_AND_MERGE_SLASHES"})
            name = named("AuthorizationPolicy", policy)
            findings.append(Finding("deny-by-path", Severity.WARNING, name, why, fix, about))
    return Examined(len(policies), f"AuthorizationPolicies (normalisation {mode})", tuple(findings))


def is_dry(policy: Object) -> bool:
    """Whether a policy is on trial only: it enforces nothing."""
    return str((policy["metadata"].get("annotations") or {}).get(DRY_RUN, "")) in TRUE


def _dry_notes(policies: Sequence[Object]) -> tuple[str, ...]:
    dry = [named("AuthorizationPolicy", p) for p in policies if is_dry(p)]
    return (f"on trial only ({DRY_RUN}), so they enforce nothing: {', '.join(dry)}",) if dry else ()


def _refuses_by_default(policy: Object) -> bool:
    """Whether it is for a whole namespace and refuses what it does not name: any ALLOW but allow-all, and DENY of all."""
    if selector(policy) or _targets(policy):
        return False
    everything = any(map(_asks_nothing, _rules(policy)))
    return {"ALLOW": not everything, "DENY": everything}.get(_action(policy), False)


def _asks_nothing(rule: Mapping[str, Any] | None) -> bool:
    """Whether a rule holds for every request: any caller, no condition, and any operation."""
    said = rule or {}
    sources = [(each or {}).get("source") or {} for each in said.get("from") or []]
    operations = _operations(rule)
    anybody = not sources or any(map(_anywhere, sources))
    return anybody and not said.get("when") and (not operations or any(map(_anything, operations)))


def _anywhere(source: Mapping[str, Any]) -> bool:
    """Whether a source is every caller: by address ranges that hold all addresses, and nothing else."""
    return bool(source) and all(
        key in ("ipBlocks", "remoteIpBlocks") and any(str(v).endswith(WHOLE_NETWORK) for v in values)
        for key, values in source.items()
    )


def _anything(operation: Mapping[str, Any]) -> bool:
    return all(
        not key.startswith("not") and set(ANY.get(key, ("*",))) & {*values}
        for key, values in operation.items()
    )


def _narrowed(rules: Sequence[Mapping[str, Any] | None], inventory: Inventory) -> list[Mapping[str, Any]]:
    """The rules without what allows everything; one for a named caller where none is left."""
    kept = []
    for rule in rules:
        if not _asks_nothing(rule):
            kept.append(rule or {})
        elif others := [
            to for to in (rule or {}).get("to") or [] if not _anything((to or {}).get("operation") or {})
        ]:
            kept.append({**(rule or {}), "to": others})  # what it allows by name stays
    caller = f"{inventory.facts.trust_domain}/ns/NAMESPACE/sa/CALLER"
    return kept or [{"from": [{"source": {"principals": [caller]}}]}]


def _allow_nothing(namespace: str, policies: Sequence[Object]) -> str:
    """A policy that allows nothing: the one that is on trial, or a new one under a free name."""
    how = "first an ALLOW policy for each caller that is meant: this refuses all others"
    for policy in policies:
        if is_dry(policy) and _refuses_by_default(policy):
            notes = {**policy["metadata"]["annotations"], DRY_RUN: "false"}
            return whole(policy, how=how, annotations=notes)
    taken = {p["metadata"]["name"] for p in policies}
    names = ("allow-nothing", *(f"allow-nothing-{number}" for number in range(2, len(taken) + 3)))
    return as_yaml(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": next(n for n in names if n not in taken), "namespace": namespace},
            "spec": {},
        },
        how=how,
    )


def _action(policy: Object) -> str:
    return str((policy.get("spec") or {}).get("action") or "ALLOW")


def _rules(policy: Object) -> Sequence[Mapping[str, Any] | None]:
    return (policy.get("spec") or {}).get("rules") or []


def _operations(rule: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [(to or {}).get("operation") or {} for to in (rule or {}).get("to") or []]


def _targets(policy: Object) -> Sequence[Any]:
    spec = policy.get("spec") or {}
    return spec.get("targetRefs") or ([spec["targetRef"]] if spec.get("targetRef") else [])
