"""The rules, in the order in which they are told: the ten that matter most first."""

from __future__ import annotations

from meshlab.istio.istioctl import concerns
from meshlab.security.audit import edge_rules, mesh_rules, pod_rules, policy_rules, port_rules
from meshlab.security.audit.inventory import ANALYSIS, MESH_CONFIG, VERSIONS, Inventory
from meshlab.security.audit.model import Examined, Finding, Rule, Severity
from meshlab.security.audit.releases import istio_version

LEVELS = {"Error": Severity.ERROR, "Warning": Severity.WARNING, "Info": Severity.INFO}
# What rules of ours tell already: a namespace without injection, a pod without a proxy.
TOLD_ELSEWHERE = {"IST0102": "injection", "IST0103": "sidecars"}


def analyze(inventory: Inventory) -> Examined:
    """What `istioctl analyze` finds about objects of the audited namespaces, and about those of none."""
    mine = [each for each in inventory.analyzed if concerns(each, inventory.namespaces)]
    findings = tuple(
        Finding(
            "analyze",
            LEVELS.get(each.level, Severity.ERROR),
            each.origin,
            f"{each.code}: {each.message}",
            f"# see {each.documentation_url}\n" if each.documentation_url else "",
        )
        for each in mine
        if each.code not in TOLD_ELSEWHERE
    )
    told = len(mine) - len(findings)
    notes = (f"{told} of them are told by {' and '.join(TOLD_ELSEWHERE.values())}",) if told else ()
    return Examined(len(mine), "messages of istioctl analyze", findings, notes)


RULES = (
    Rule(
        "istio-version", "Istio's version is supported and has no known advisory", istio_version, (VERSIONS,)
    ),
    Rule(
        "strict-mtls",
        "Mutual TLS is STRICT in the whole mesh",
        policy_rules.strict_mtls,
        ("PeerAuthentication",),
    ),
    Rule(
        "default-deny",
        "Requests that no policy allows are refused",
        policy_rules.default_deny,
        ("AuthorizationPolicy", "Pod"),
    ),
    Rule("allow-all", "No policy allows everything", policy_rules.allow_all, ("AuthorizationPolicy",)),
    Rule(
        "deny-by-path",
        "Policies that refuse by path have paths normalised",
        policy_rules.deny_by_path,
        ("AuthorizationPolicy", MESH_CONFIG),
    ),
    Rule("gateway-hosts", "No gateway serves every host", edge_rules.gateway_hosts, ("Gateway",)),
    Rule("gateway-tls", "Gateways speak TLS 1.2 or newer", edge_rules.gateway_tls, ("Gateway",)),
    Rule(
        "destination-rule-tls",
        "No DestinationRule switches TLS or its verification off",
        edge_rules.destination_rule_tls,
        ("DestinationRule",),
    ),
    Rule(
        "egress-policy",
        "Only declared destinations may be called",
        mesh_rules.egress_policy,
        ("Sidecar", MESH_CONFIG),
    ),
    Rule(
        "sidecars",
        "Every pod of an injected namespace has its sidecar",
        mesh_rules.sidecars_missing,
        ("Pod",),
    ),
    Rule("limits", "Containers have limits", pod_rules.limits, ("Pod",)),
    Rule("privileged", "No container has its node's powers", pod_rules.privileged, ("Pod",)),
    Rule("run-as-root", "No container runs as root", pod_rules.run_as_root, ("Pod",)),
    Rule(
        "shared-accounts", "No service account is shared by applications", pod_rules.shared_accounts, ("Pod",)
    ),
    Rule(
        "token-mounts",
        "No token of a service account is mounted needlessly",
        pod_rules.token_mounts,
        ("Pod", "RoleBinding", "ClusterRoleBinding"),
    ),
    Rule(
        "first-party-tokens",
        "Proxies use tokens that are made for istiod",
        mesh_rules.first_party_tokens,
        ("Pod",),
    ),
    Rule("debug-ports", "No debug port is offered", port_rules.debug_ports, ("Pod", "Service")),
    Rule(
        "certificates",
        "Certificates of gateways and of the mesh are not near their end",
        edge_rules.certificates,
    ),
    Rule(
        "injection", "Every namespace with pods asks for sidecars", mesh_rules.injection, ("Namespace", "Pod")
    ),
    Rule("analyze", "istioctl analyze finds nothing", analyze, (ANALYSIS,)),
)
BY_ID = {rule.id: rule for rule in RULES}
