"""The rules, in the order in which they are told: the ten that matter most first."""

from __future__ import annotations

from meshlab.istio.findings import concerns
from meshlab.security.audit import (
    account_rules,
    egress_rules,
    gateway_rules,
    mesh_rules,
    mtls_rules,
    pod_rules,
    policy_rules,
    port_rules,
    tls_rules,
)
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
    Rule("istio-version", istio_version, (VERSIONS,)),
    Rule("strict-mtls", mtls_rules.strict_mtls, ("PeerAuthentication",)),
    Rule("default-deny", policy_rules.default_deny, ("AuthorizationPolicy", "Pod")),
    Rule("allow-all", policy_rules.allow_all, ("AuthorizationPolicy",)),
    Rule("deny-by-path", policy_rules.deny_by_path, ("AuthorizationPolicy", MESH_CONFIG)),
    Rule("gateway-hosts", gateway_rules.gateway_hosts, ("Gateway",)),
    Rule("gateway-tls", gateway_rules.gateway_tls, ("Gateway",)),
    Rule("destination-rule-tls", tls_rules.destination_rule_tls, ("DestinationRule",)),
    Rule("egress-policy", egress_rules.egress_policy, ("Sidecar", MESH_CONFIG)),
    Rule("sidecars", mesh_rules.sidecars_missing, ("Pod",)),
    Rule("limits", pod_rules.limits, ("Pod",)),
    Rule("privileged", pod_rules.privileged, ("Pod",)),
    Rule("run-as-root", pod_rules.run_as_root, ("Pod",)),
    Rule("shared-accounts", account_rules.shared_accounts, ("Pod",)),
    Rule("token-mounts", account_rules.token_mounts, ("Pod", "RoleBinding", "ClusterRoleBinding")),
    Rule("first-party-tokens", mesh_rules.first_party_tokens, ("Pod",)),
    Rule("debug-ports", port_rules.debug_ports, ("Pod", "Service")),
    Rule("certificates", tls_rules.certificates),
    Rule("injection", mesh_rules.injection, ("Namespace", "Pod")),
    Rule("analyze", analyze, (ANALYSIS,)),
)
