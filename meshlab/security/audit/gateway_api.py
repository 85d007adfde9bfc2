"""Gateways of gateway.networking.k8s.io that Istio serves, judged as its own: hosts, and what is in the clear."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.security.audit.inventory import KUBERNETES_GATEWAY, Inventory, served
from meshlab.security.audit.mends import as_yaml, whole
from meshlab.security.audit.model import Examined, Finding, Severity, named
from meshlab.security.audit.objects import Object

PLAIN, ENCRYPTED, EXAMPLE = ("HTTP", "TCP"), ("HTTPS", "TLS"), "shop.example.com"
GROUP = "gateway.networking.k8s.io"


def hosts(inventory: Inventory) -> Examined:
    """No listener that serves every host. Every host of one domain is told, and fails nothing."""
    findings, looked = [], 0
    for gateway in served(inventory.objects):
        spec = copy.deepcopy(dict(gateway["spec"]))
        faults = []
        for listener in spec.get("listeners") or []:
            looked += 1
            host = str(listener.get("hostname") or "*")
            if listener.get("protocol") == "TCP" or not host.startswith("*"):
                continue
            every = host == "*"
            severity, whose = (
                (Severity.WARNING, "any host") if every else (Severity.INFO, "any host of a domain")
            )
            faults.append(
                (
                    severity,
                    f"{_called(listener)} serves {whose} ({host}): routes of others can be bound to it",
                )
            )
            listener["hostname"] = EXAMPLE if every else f"shop{host[1:]}"
        fix = whole(gateway, spec)
        findings += [_finding("gateway-hosts", severity, gateway, why, fix) for severity, why in faults]
    return Examined(looked, "listeners", tuple(findings))


def tls(inventory: Inventory) -> Examined:
    """Plain HTTP is only there to be sent to HTTPS, and TCP has TLS. No listener can be told to take TLS older than 1.2."""
    findings, looked = [], 0
    for gateway in served(inventory.objects):
        for listener in gateway["spec"].get("listeners") or []:
            looked += 1
            protocol = str(listener.get("protocol", ""))
            if protocol not in PLAIN:
                continue
            routes = [r for r in inventory.of("HTTPRoute") if _attached(r, gateway, listener)]
            if protocol == "TCP":
                why, fix = f"{_called(listener)} serves TCP in the clear", _encrypted(gateway, listener)
            elif routes and all(map(_redirects, routes)):
                continue
            else:
                why = f"{_called(listener)} serves HTTP in the clear, without a redirect to HTTPS"
                fix = _redirected(gateway, listener, [r for r in routes if not _redirects(r)])
            findings.append(_finding("gateway-tls", Severity.WARNING, gateway, why, fix))
    return Examined(looked, "listeners", tuple(findings))


def _finding(rule: str, severity: Severity, gateway: Object, why: str, fix: str) -> Finding:
    return Finding(
        rule,
        severity,
        named(KUBERNETES_GATEWAY, gateway),
        why,
        fix,
        {"namespace": gateway["metadata"]["namespace"]},
    )


def _called(listener: Mapping[str, Any]) -> str:
    return f"listener {listener.get('name', '?')} (port {listener.get('port', '?')})"


def _parent(reference: Mapping[str, Any], route: Object, gateway: Object) -> bool:
    """Whether a route's reference is to a gateway."""
    meta = gateway["metadata"]
    return bool(
        reference.get("kind", "Gateway") == "Gateway"
        and reference.get("group", GROUP) == GROUP
        and reference.get("name") == meta["name"]
        and (reference.get("namespace") or route["metadata"]["namespace"]) == meta["namespace"]
    )


def _attached(route: Object, gateway: Object, listener: Mapping[str, Any]) -> bool:
    """Whether a route is for a listener: one that it names, or any."""
    return any(
        _parent(each, route, gateway)
        and each.get("sectionName", listener.get("name")) == listener.get("name")
        and each.get("port", listener.get("port")) == listener.get("port")
        for each in (route.get("spec") or {}).get("parentRefs") or []
    )


def _redirects(route: Object) -> bool:
    """Whether every rule of a route sends its callers to HTTPS."""
    rules = (route.get("spec") or {}).get("rules") or []
    return bool(rules) and all(
        any((f.get("requestRedirect") or {}).get("scheme") == "https" for f in rule.get("filters") or [])
        for rule in rules
    )


def _encrypted(gateway: Object, plain: Mapping[str, Any]) -> str:
    spec = copy.deepcopy(dict(gateway["spec"]))
    for listener in spec["listeners"]:
        if listener["name"] == plain["name"]:
            listener |= {"protocol": "TLS", "tls": _terminated()}
    return whole(gateway, spec)


def _terminated() -> dict[str, Any]:
    return {"mode": "Terminate", "certificateRefs": [{"name": "NAME-OF-A-SECRET"}]}


def _redirected(gateway: Object, plain: Mapping[str, Any], routes: Sequence[Object]) -> str:
    """A route that redirects, the other routes at HTTPS alone, and a listener for it where there is none."""
    spec, meta = copy.deepcopy(dict(gateway["spec"])), gateway["metadata"]
    secure = [each["name"] for each in spec["listeners"] if each.get("protocol") in ENCRYPTED]
    parts = []
    if not secure:
        names = {each["name"] for each in spec["listeners"]}
        name = next(each for each in ("https", f"{plain['name']}-https") if each not in names)
        kept = {key: plain[key] for key in ("hostname", "allowedRoutes") if key in plain}
        spec["listeners"].append(
            {"name": name, "port": 443, "protocol": "HTTPS", **kept, "tls": _terminated()}
        )
        secure = [name]
        parts.append(whole(gateway, spec))
    redirect = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": f"{meta['name']}-{plain['name']}-to-https", "namespace": meta["namespace"]},
        "spec": {
            "parentRefs": [{"name": meta["name"], "sectionName": plain["name"]}],
            "rules": [
                {
                    "filters": [
                        {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
                    ]
                }
            ],
        },
    }
    parts.append(as_yaml(redirect))
    for route in routes:
        at, moved = route["metadata"], []
        for each in route["spec"]["parentRefs"]:
            if not (
                _parent(each, route, gateway) and each.get("sectionName", plain["name"]) == plain["name"]
            ):
                moved.append(each)
                continue
            base = {key: value for key, value in each.items() if key != "port"}
            moved += [each_ for name in secure if (each_ := {**base, "sectionName": name}) not in moved]
        how = f"kubectl patch httproute {at['name']} -n {at['namespace']} --type=merge --patch-file=FILE"
        parts.append(as_yaml({"spec": {"parentRefs": moved}}, how=how))
    return "---\n".join(parts)
