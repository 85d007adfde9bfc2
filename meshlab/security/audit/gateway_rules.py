"""Rules about gateways, of both APIs: the hosts that they serve, and TLS."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from meshlab.security.audit import gateway_api
from meshlab.security.audit.gateways import Server, about, is_egress, servers
from meshlab.security.audit.inventory import GATEWAY_API, Inventory
from meshlab.security.audit.mends import whole
from meshlab.security.audit.model import Examined, Finding, Severity, named

OLD_TLS = ("TLSV1_0", "TLSV1_1")
HTTP = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
ENCRYPTED = ("HTTPS", "TLS")
EXAMPLE = "shop.example.com"
# What is wrong with a server (severity, why), and the server without it.
Fault = tuple[Severity, str]


def gateway_hosts(inventory: Inventory) -> Examined:
    """No gateway that serves every host. Every host of one domain is told, and fails nothing."""
    found = _istio_gateways("gateway-hosts", inventory, _hosts)
    return _with_kubernetes(found, gateway_api.hosts(inventory), inventory)


def gateway_tls(inventory: Inventory) -> Examined:
    """Gateways speak TLS 1.2 or newer; plain HTTP is only there to be sent to HTTPS."""
    found = _istio_gateways("gateway-tls", inventory, _tls)
    return _with_kubernetes(found, gateway_api.tls(inventory), inventory)


def _with_kubernetes(istio: Examined, kubernetes: Examined, inventory: Inventory) -> Examined:
    unread = [f"{kind}: {inventory.unreadable[kind]}" for kind in GATEWAY_API if kind in inventory.unreadable]
    notes = (f"WARNING: gateways of gateway.networking.k8s.io could not be read: {'; '.join(unread)}",)
    return Examined(
        istio.looked + kubernetes.looked,
        istio.what,
        (*istio.findings, *kubernetes.findings),
        (*kubernetes.notes, *(notes if unread else ())),
    )


def _istio_gateways(
    rule: str,
    inventory: Inventory,
    judge: Callable[[dict[str, Any], bool], list[Fault]],
) -> Examined:
    """Judge each server of Istio's Gateways. The mend of a Gateway mends all of its servers.

    judge: names what is wrong with a server (and whether its gateway is an egress gateway), and mends it in place.
    """
    findings, looked = [], 0
    for gateway in inventory.of("Gateway"):
        spec: dict[str, Any] = copy.deepcopy(dict(gateway.get("spec") or {}))
        egress = is_egress(gateway, inventory)
        asked = [
            (server, judge(mended, egress))
            for server, mended in zip(servers(gateway), servers({"spec": spec}), strict=True)
        ]
        looked += len(asked)
        faults = [(server, fault) for server, found in asked for fault in found]
        how = "serve these hosts by HTTPS first" if any("redirect" in why for _, (_, why) in faults) else ""
        fix = whole(gateway, spec, how)
        for server, (severity, why) in faults:
            name, facts = named("Gateway", gateway), about(gateway, server, inventory)
            findings.append(Finding(rule, severity, name, f"{_port(server)} {why}", fix, facts))
    return Examined(looked, "servers of gateways", tuple(findings))


def _hosts(server: dict[str, Any], egress: bool) -> list[Fault]:
    hosts = [str(host) for host in server.get("hosts") or []]
    names = {host: host.rpartition("/")[2] for host in hosts}
    wide = [host for host, name in names.items() if name == "*"]
    domains = [host for host, name in names.items() if name.startswith("*.")]
    found = ((Severity.WARNING, wide, "any host"), (Severity.INFO, domains, "any host of a domain"))
    faults = [
        (severity, f"serves {whose} ({', '.join(which)}): routes of others can be bound to it")
        for severity, which, whose in found
        if which
    ]
    if faults:
        server["hosts"] = [_narrow(host) for host in hosts]
    return faults


def _narrow(host: str) -> str:
    scope, slash, name = host.rpartition("/")
    if name == "*":
        name = EXAMPLE
    elif name.startswith("*."):
        name = f"shop{name[1:]}"
    return f"{scope}{slash}{name}"


def _tls(server: dict[str, Any], egress: bool) -> list[Fault]:
    tls: dict[str, Any] = server.get("tls") or {}
    protocol = str((server.get("port") or {}).get("protocol", "")).upper()
    if protocol in HTTP:
        # What reaches an egress gateway comes from the mesh's own proxies, which follow no redirect.
        if tls.get("httpsRedirect") or egress:
            return []
        server["tls"] = {**tls, "httpsRedirect": True}
        return [(Severity.WARNING, f"serves {protocol} in the clear, without a redirect to HTTPS")]
    if protocol not in ENCRYPTED:
        if egress or not protocol:
            return []
        server["port"] = {**server["port"], "protocol": "TLS"}
        server["tls"] = {"mode": "SIMPLE", "credentialName": "NAME-OF-A-SECRET"}
        return [(Severity.WARNING, f"serves {protocol} in the clear")]
    faults = []
    if tls.get("minProtocolVersion") in OLD_TLS:
        faults.append((Severity.ERROR, f"accepts {tls['minProtocolVersion']}"))
        tls["minProtocolVersion"] = "TLSV1_2"
    if tls.get("maxProtocolVersion") in OLD_TLS:
        faults.append((Severity.ERROR, f"offers nothing newer than {tls['maxProtocolVersion']}"))
        tls["maxProtocolVersion"] = "TLS_AUTO"
    return faults


def _port(server: Server) -> str:
    return f"port {(server.get('port') or {}).get('number', '?')}"
