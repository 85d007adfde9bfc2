"""Rules about the mesh's policies: mutual TLS, authorization, egress, injection, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshlab.audit.inventory import Inventory
from meshlab.audit.model import Examined, Finding, Object, Severity, as_yaml, named
from meshlab.audit.workloads import is_meshed, meshed_namespaces, workload_of
from meshlab.istio.control_plane import INJECTION_LABEL, REVISION_LABEL, SIDECAR

NORMALISING = ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
CLOSED = "REGISTRY_ONLY"
OPT_OUT = "sidecar.istio.io/inject"
AMBIENT_LABEL = "istio.io/dataplane-mode"
TOKEN_VOLUME, TOKEN_AUDIENCE = "istio-token", "istio-ca"
SECURITY = "security.istio.io/v1"


def strict_mtls(inventory: Inventory) -> Examined:
    """STRICT for the whole mesh, and no policy below it that lets plaintext in."""
    policies = inventory.of("PeerAuthentication")
    whole = [p for p in policies if _in_root(p, inventory) and not _selector(p)]
    findings = []
    if not any(_mode(p) == "STRICT" for p in whole):
        where = f"PeerAuthentication {inventory.root}/default"
        mode = next((_mode(p) for p in whole), "") or "PERMISSIVE"
        fix = _peer_authentication(inventory.root)
        why = f"the mesh is {mode}: services take plaintext from anybody who reaches them"
        findings.append(Finding("strict-mtls", Severity.ERROR, where, why, fix))
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
                    _peer_authentication(policy["metadata"]["namespace"], policy["metadata"]["name"], _selector(policy)),
                    {"namespace": policy["metadata"]["namespace"], **_labels(_selector(policy))},
                )
            )  # fmt: skip
    return Examined(len(policies) + 1, "PeerAuthentications and the mesh's own mode", tuple(findings))


def default_deny(inventory: Inventory) -> Examined:
    """A policy that allows nothing, for the whole mesh or each namespace of it: what is not allowed is refused."""
    closed = {
        p["metadata"]["namespace"]
        for p in inventory.of("AuthorizationPolicy")
        if not _selector(p) and _action(p) == "ALLOW" and not _rules(p) and not _targets(p)
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
    """No ALLOW rule that matches every request from everybody."""
    policies = [p for p in inventory.of("AuthorizationPolicy") if _action(p) == "ALLOW"]
    findings = []
    for policy in policies:
        if any(not any((rule or {}).get(part) for part in ("from", "to", "when")) for rule in _rules(policy)):
            mended = [rule for rule in _rules(policy) if rule] or [
                {"from": [{"source": {"principals": ["cluster.local/ns/NAMESPACE/sa/CALLER"]}}]}
            ]
            spec = {**(policy.get("spec") or {}), "rules": mended}
            findings.append(
                Finding(
                    "allow-all", Severity.ERROR, named("AuthorizationPolicy", policy),
                    "an empty rule allows every request, from callers without an identity too",
                    _again(policy, spec), {"namespace": policy["metadata"]["namespace"], **_labels(_selector(policy))},
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
                    as_yaml(_operator({"pathNormalization": {"normalization": "DECODE_AND_MERGE_SLASHES"}})),
                    {
                        "namespace": policy["metadata"]["namespace"],
                        "path": next((p for p in paths if "*" not in p), ""),
                        **_labels(_selector(policy)),
                    },
                )
            )  # fmt: skip
    return Examined(len(policies), f"AuthorizationPolicies (normalisation {mode})", tuple(findings))


def egress_policy(inventory: Inventory) -> Examined:
    """Only declared destinations may be called: REGISTRY_ONLY, in the mesh's configuration or by Sidecars."""
    sidecars = inventory.of("Sidecar")
    whole = [s for s in sidecars if not _selector(s)]
    mode = _outbound(inventory.mesh)
    mode = next((_egress(s) for s in whole if _in_root(s, inventory) and _egress(s)), mode)
    closed = {s["metadata"]["namespace"] for s in whole if _egress(s) == CLOSED}
    findings = []
    open_ = [n for n in meshed_namespaces(inventory) if n not in closed]
    if mode != CLOSED and (open_ or not meshed_namespaces(inventory)):
        findings.append(
            Finding(
                "egress-policy", Severity.WARNING, f"MeshConfig {inventory.root}/istio",
                f"outboundTrafficPolicy is {mode}: pods may call any address ({', '.join(open_) or 'no sidecar yet'})",
                as_yaml(_operator({"outboundTrafficPolicy": {"mode": CLOSED}})),
            )
        )  # fmt: skip
    for each in sidecars:
        if _egress(each) not in ("", CLOSED):
            spec = {**each["spec"], "outboundTrafficPolicy": {"mode": CLOSED}}
            why = f"opens egress for its workloads: {_egress(each)}"
            findings.append(
                Finding(
                    "egress-policy", Severity.WARNING, named("Sidecar", each), why, _again(each, spec),
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
    return Examined(len(pods), f"pods in {len(asking)} namespaces with injection", tuple(found.values()))


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
            why = f"{len(inventory.running(name))} pods run in it and it asks for no sidecars"
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


def _mode(policy: Object) -> str:
    return str(((policy.get("spec") or {}).get("mtls") or {}).get("mode") or "")


def _action(policy: Object) -> str:
    return str((policy.get("spec") or {}).get("action") or "ALLOW")


def _rules(policy: Object) -> Sequence[Mapping[str, Any]]:
    return (policy.get("spec") or {}).get("rules") or []


def _targets(policy: Object) -> Sequence[Any]:
    spec = policy.get("spec") or {}
    return spec.get("targetRefs") or ([spec["targetRef"]] if spec.get("targetRef") else [])


def _selector(document: Object) -> Mapping[str, str]:
    spec = document.get("spec") or {}
    chosen = spec.get("selector") or spec.get("workloadSelector") or {}
    return chosen.get("matchLabels") or chosen.get("labels") or {}


def _labels(selector: Mapping[str, str]) -> dict[str, str]:
    """A selector as a proof's facts carry it."""
    return {"selector": ",".join(f"{k}={v}" for k, v in selector.items())} if selector else {}


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


def _in_root(document: Object, inventory: Inventory) -> bool:
    return document["metadata"]["namespace"] == inventory.root


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


def _peer_authentication(
    namespace: str, name: str = "default", selector: Mapping[str, str] | None = None
) -> str:
    chosen = {"selector": {"matchLabels": dict(selector)}} if selector else {}
    return as_yaml(
        {
            "apiVersion": SECURITY,
            "kind": "PeerAuthentication",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**chosen, "mtls": {"mode": "STRICT"}},
        }
    )


def _operator(mesh_config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {"meshConfig": dict(mesh_config)},
    }


def _again(document: Object, spec: Mapping[str, Any]) -> str:
    """The object with another spec."""
    meta = document["metadata"]
    return as_yaml(
        {
            "apiVersion": document["apiVersion"],
            "kind": document["kind"],
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "spec": dict(spec),
        }
    )
