"""Rules about the TLS that DestinationRules set, and about certificates that serve."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from meshlab.core.text import pluralize
from meshlab.security.audit.certificates import Certificate
from meshlab.security.audit.inventory import CERTIFICATE, Inventory
from meshlab.security.audit.mends import as_yaml, whole
from meshlab.security.audit.model import Examined, Finding, Severity, named
from meshlab.security.audit.objects import Object

RULE = "destination-rule-tls"


def destination_rule_tls(inventory: Inventory) -> Examined:
    """No DestinationRule that switches TLS off, or takes any certificate."""
    rules = inventory.of("DestinationRule")
    findings = []
    for rule in rules:
        spec: dict[str, Any] = copy.deepcopy(dict(rule.get("spec") or {}))
        host, faults = str(spec.get("host", "")), []
        for where, tls in _tls_settings(spec):
            mode = tls.get("mode") or "DISABLE"  # a setting without a mode is its first value
            if mode == "DISABLE":
                faults.append((mode, f"{where} switches TLS off towards {host}"))
                # To a host of others there is no identity of the mesh to speak as.
                tls["mode"] = "ISTIO_MUTUAL" if _in_mesh(rule, host, inventory) else "SIMPLE"
            if tls.get("insecureSkipVerify"):
                faults.append((mode, f"{where} takes any certificate from {host} (insecureSkipVerify)"))
                tls["insecureSkipVerify"] = False
        fix = whole(rule, spec)  # mends all that is wrong in it
        name = named("DestinationRule", rule)
        for mode, why in faults:
            about = {"namespace": rule["metadata"]["namespace"], "host": host, "mode": mode}
            findings.append(Finding(RULE, Severity.ERROR, name, why, fix, about))
    return Examined(len(rules), "DestinationRules", tuple(findings))


def certificates(inventory: Inventory) -> Examined:
    """The certificates of gateways, and the mesh's root, last for a while yet."""
    findings = []
    for each in inventory.certificates:
        days = (each.not_after - inventory.now).days
        if each.not_after <= inventory.now:
            severity, why = Severity.ERROR, f"expired on {each.not_after:%Y-%m-%d %H:%M} UTC"
        elif days < inventory.certificate_days:
            severity = Severity.WARNING
            why = f"expires in {pluralize(days, 'days')}, on {each.not_after:%Y-%m-%d}"
        else:
            continue
        why = f"{each.subject} {why}; used by {each.used_by}"
        findings.append(Finding("certificates", severity, each.resource, why, _renewed(each)))
    unread = inventory.unreadable.get(CERTIFICATE)
    notes = (f"WARNING: not all could be read: {unread}",) if unread else ()
    return Examined(len(inventory.certificates), "certificates", tuple(findings), notes)


def _renewed(certificate: Certificate) -> str:
    """What renews a certificate: a patch of the keys that hold it. The mesh's root is renewed where it is signed."""
    kind, _, name = certificate.resource.partition(" ")
    namespace, _, name = name.partition("/")
    if not certificate.keys:
        return "# istiod writes it: renew the certificate authority that it was given, or let istiod make a new one\n"
    how = f"kubectl patch {kind.lower()} {name} -n {namespace} --type=merge --patch-file=FILE"
    text = "stringData" if kind == "Secret" else "data"
    return as_yaml({text: {key: f"(the new {what}, PEM)" for key, what in certificate.keys}}, how=how)


def _in_mesh(rule: Object, host: str, inventory: Inventory) -> bool:
    """Whether a host is a Service of this cluster: by its short name, its namespace's, or the cluster's domain."""
    name, _, rest = host.partition(".")
    if not rest or host.endswith((".local", f".svc.{inventory.facts.cluster_domain}", ".svc")):
        return True
    return any(each["metadata"]["name"] == name for each in inventory.of("Service", rest))


def _tls_settings(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every TLS setting of a DestinationRule: of the host, its ports, its subsets and theirs."""
    policies = [("it", spec.get("trafficPolicy") or {})]
    policies += [
        (f"subset {each.get('name')}", each.get("trafficPolicy") or {}) for each in spec.get("subsets") or []
    ]
    for name, policy in policies:
        if policy.get("tls") is not None:
            yield name, policy["tls"]
        for each in policy.get("portLevelSettings") or []:
            if each.get("tls") is not None:
                yield f"{name}, port {(each.get('port') or {}).get('number')},", each["tls"]
