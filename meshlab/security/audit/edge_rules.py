"""Rules about gateways, their certificates, and the TLS that DestinationRules set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshlab.core.text import pluralize
from meshlab.security.audit.inventory import CERTIFICATE, Inventory, Object
from meshlab.security.audit.istio_objects import again
from meshlab.security.audit.model import Examined, Finding, Severity, as_yaml, named

OLD_TLS = ("TLSV1_0", "TLSV1_1")
PLAIN = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")


def gateway_hosts(inventory: Inventory) -> Examined:
    """No gateway that serves every host. Every host of one domain is told, and fails nothing."""
    servers = list(_servers(inventory))
    findings = []
    for gateway, server in servers:
        mended = {**server, "hosts": ["shop.example.com"]}
        hosts = {str(host): str(host).rpartition("/")[2] for host in server.get("hosts") or []}
        wide = [host for host, name in hosts.items() if name == "*"]
        domains = [host for host, name in hosts.items() if name.startswith("*.")]
        for severity, found, whose in (
            (Severity.WARNING, wide, "any host"), (Severity.INFO, domains, "any host of a domain"),
        ):  # fmt: skip
            if found:
                findings.append(
                    Finding(
                        "gateway-hosts", severity, named("Gateway", gateway),
                        f"{_port(server)} serves {whose} ({', '.join(found)}): routes of others can be bound to it",
                        _gateway(gateway, mended), _about(gateway, server, inventory),
                    )
                )  # fmt: skip
    return Examined(len(servers), "servers of gateways", tuple(findings))


def gateway_tls(inventory: Inventory) -> Examined:
    """Gateways speak TLS 1.2 or newer; plain HTTP is only there to be sent to HTTPS."""
    servers = list(_servers(inventory))
    findings = []
    for gateway, server in servers:
        tls = server.get("tls") or {}
        protocol = str((server.get("port") or {}).get("protocol", "")).upper()
        mended: dict[str, Any] | None = None
        if protocol in PLAIN and not tls.get("httpsRedirect"):
            why = f"{_port(server)} serves {protocol} in the clear, without a redirect to HTTPS"
            mended = {**server, "tls": {"httpsRedirect": True}}
        elif tls.get("minProtocolVersion") in OLD_TLS:
            why = f"{_port(server)} accepts {tls['minProtocolVersion']}"
            mended = {**server, "tls": {**tls, "minProtocolVersion": "TLSV1_2"}}
        elif tls.get("maxProtocolVersion") in OLD_TLS:
            why = f"{_port(server)} offers nothing newer than {tls['maxProtocolVersion']}"
            mended = {**server, "tls": {k: v for k, v in tls.items() if k != "maxProtocolVersion"}}
        if mended is not None:
            severity = Severity.WARNING if protocol in PLAIN else Severity.ERROR
            about = _about(gateway, server, inventory)
            findings.append(
                Finding(
                    "gateway-tls", severity, named("Gateway", gateway), why, _gateway(gateway, mended), about
                )
            )
    return Examined(len(servers), "servers of gateways", tuple(findings))


def destination_rule_tls(inventory: Inventory) -> Examined:
    """No DestinationRule that switches TLS off, or takes any certificate."""
    rules = inventory.of("DestinationRule")
    findings = []
    for rule in rules:
        spec = rule.get("spec") or {}
        for where, tls in _tls_settings(spec):
            mode = tls.get("mode")
            if mode == "DISABLE":
                why = f"{where} switches TLS off towards {spec.get('host')}"
            elif tls.get("insecureSkipVerify"):
                why = f"{where} takes any certificate from {spec.get('host')} (insecureSkipVerify)"
            else:
                continue
            fix = again(rule, {"host": spec.get("host"), "trafficPolicy": {"tls": _mended(tls)}})
            about = {
                "namespace": rule["metadata"]["namespace"],
                "host": str(spec.get("host", "")),
                "mode": str(mode),
            }
            findings.append(
                Finding(
                    "destination-rule-tls", Severity.ERROR, named("DestinationRule", rule), why, fix, about
                )
            )
    return Examined(len(rules), "DestinationRules", tuple(findings))


def certificates(inventory: Inventory) -> Examined:
    """The certificates of gateways, and the mesh's root, last for a while yet."""
    findings = []
    for each in inventory.certificates:
        days = (each.not_after - inventory.now).days
        if each.not_after <= inventory.now:
            severity, why = Severity.ERROR, f"expired on {each.not_after:%Y-%m-%d %H:%M} UTC"
        elif days < inventory.certificate_days:
            severity, why = (
                Severity.WARNING,
                f"expires in {pluralize(days, 'days')}, on {each.not_after:%Y-%m-%d}",
            )
        else:
            continue
        kind, _, name = each.resource.partition(" ")
        namespace, _, name = name.partition("/")
        fix = as_yaml(
            {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"name": name, "namespace": namespace},
                **(
                    {"type": "kubernetes.io/tls", "data": {"tls.crt": "…", "tls.key": "…"}}
                    if kind == "Secret"
                    else {}
                ),
            }
        )
        findings.append(
            Finding(
                "certificates", severity, each.resource, f"{each.subject} {why}; used by {each.used_by}", fix
            )
        )
    unread = inventory.unreadable.get(CERTIFICATE)
    notes = (f"WARNING: not all could be read: {unread}",) if unread else ()
    return Examined(len(inventory.certificates), "certificates", tuple(findings), notes)


def _servers(inventory: Inventory) -> Iterator[tuple[Object, Mapping[str, Any]]]:
    for gateway in inventory.of("Gateway"):
        for server in (gateway.get("spec") or {}).get("servers") or []:
            yield gateway, server


def _port(server: Mapping[str, Any]) -> str:
    return f"port {(server.get('port') or {}).get('number', '?')}"


def _gateway(gateway: Object, server: Mapping[str, Any]) -> str:
    spec = gateway.get("spec") or {}
    return again(gateway, {"selector": dict(spec.get("selector") or {}), "servers": [dict(server)]})


def _about(gateway: Object, server: Mapping[str, Any], inventory: Inventory) -> dict[str, str]:
    """How the server is reached: the labels of its pods, its port, and a path that is routed."""
    meta = gateway["metadata"]
    return {
        "namespace": meta["namespace"],
        "selector": ",".join(
            f"{k}={v}" for k, v in ((gateway.get("spec") or {}).get("selector") or {}).items()
        ),
        "port": str((server.get("port") or {}).get("number", "")),
        "protocol": str((server.get("port") or {}).get("protocol", "")).upper(),
        "path": _routed_path(inventory, meta["namespace"], meta["name"]),
    }


def _routed_path(inventory: Inventory, namespace: str, name: str) -> str:
    """A path that some VirtualService routes through this gateway, `/` where none says."""
    for service in inventory.of("VirtualService"):
        spec = service.get("spec") or {}
        own = service["metadata"]["namespace"]
        bound = [g if "/" in g else f"{own}/{g}" for g in spec.get("gateways") or []]
        if f"{namespace}/{name}" not in bound:
            continue
        for route in spec.get("http") or []:
            for match in route.get("match") or [{}]:
                uri = match.get("uri") or {}
                return str(uri.get("exact") or uri.get("prefix") or "/")
    return "/"


def _tls_settings(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every TLS setting of a DestinationRule: of the host, its ports, its subsets and theirs."""
    policies = [("it", spec.get("trafficPolicy") or {})]
    policies += [
        (f"subset {each.get('name')}", each.get("trafficPolicy") or {}) for each in spec.get("subsets") or []
    ]
    for name, policy in policies:
        if policy.get("tls"):
            yield name, policy["tls"]
        for each in policy.get("portLevelSettings") or []:
            if each.get("tls"):
                yield f"{name}, port {(each.get('port') or {}).get('number')},", each["tls"]


def _mended(tls: Mapping[str, Any]) -> dict[str, Any]:
    if tls.get("mode") == "DISABLE":
        return {"mode": "ISTIO_MUTUAL"}
    return {k: v for k, v in tls.items() if k != "insecureSkipVerify"}
