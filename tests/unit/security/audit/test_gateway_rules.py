"""Gateways of both APIs: hosts, TLS, and what is no fault of theirs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.security.audit.samples import examine, inventory, pod, thing, told

EDGE = pod("edge", "istio-system", proxy="router", labels={"istio": "ingressgateway"})


def gateway(
    protocol: str, tls: Any = None, selector: str = "ingressgateway", **server: Any
) -> dict[str, Any]:
    body = {"port": {"number": 80, "protocol": protocol}, "hosts": ["a.test"], **server}
    body |= {} if tls is None else {"tls": tls}
    return thing("Gateway", "edge", spec={"selector": {"istio": selector}, "servers": [body]})


@pytest.mark.parametrize(
    ("protocol", "tls", "found"),
    [
        ("HTTP", None, "warning"),
        ("GRPC", None, "warning"),
        ("HTTP", {"httpsRedirect": True}, None),
        ("TCP", None, "warning"),
        ("MYSQL", None, "warning"),
        ("MONGO", None, "warning"),
        ("TLS", {"mode": "PASSTHROUGH"}, None),
        ("HTTPS", {"mode": "SIMPLE"}, None),
        ("HTTPS", {"mode": "SIMPLE", "minProtocolVersion": "TLSV1_0"}, "error"),
        ("HTTPS", {"mode": "SIMPLE", "maxProtocolVersion": "TLSV1_1"}, "error"),
    ],
)
def test_what_is_in_the_clear(protocol: str, tls: Any, found: str | None) -> None:
    wanted = [(found, "Gateway shop/edge")] if found else []
    assert told(examine("gateway-tls", gateway(protocol, tls))) == wanted


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_an_egress_gateway_redirects_nobody(protocol: str) -> None:
    assert told(examine("gateway-tls", gateway(protocol, selector="egressgateway"))) == []
    named = gateway(protocol, selector="leaving")
    leaving = pod(
        "out", "istio-system", proxy="router", labels={"istio": "leaving", "app": "istio-egressgateway"}
    )
    assert told(examine("gateway-tls", named, leaving)) == []


def routed(gateways: list[str]) -> list[dict[str, Any]]:
    """A Service in front of the gateway, and a route to it for these gateways."""
    service = thing("Service", "way", "out", {"selector": {"istio": "leaving"}, "ports": [{"port": 80}]})
    route = {
        "match": [{"gateways": gateways}],
        "route": [{"destination": {"host": "way.out.svc.corp.local"}}],
    }
    virtual = thing("VirtualService", "v", spec={"gateways": ["mesh", "edge"], "http": [route]})
    return [service, virtual]


def test_a_gateway_to_which_sidecars_are_routed_is_an_egress_gateway() -> None:
    named = gateway("HTTP", selector="leaving")
    assert told(examine("gateway-tls", named, *routed(["mesh"]))) == []
    assert len(told(examine("gateway-tls", named, *routed(["edge"])))) == 1
    assert len(told(examine("gateway-tls", named))) == 1


@pytest.mark.parametrize(
    ("host", "tls", "fault", "mode"),
    [
        ("cart", {"mode": "DISABLE"}, True, "ISTIO_MUTUAL"),
        ("cart.shop.svc.cluster.local", {"sni": "x"}, True, "ISTIO_MUTUAL"),
        ("api.example.com", {"sni": "x"}, True, "SIMPLE"),
        ("cart", {}, True, "ISTIO_MUTUAL"),
        ("cart", {"mode": "SIMPLE"}, False, ""),
        ("cart", None, False, ""),
    ],
)
def test_a_setting_without_a_mode_switches_tls_off(host: str, tls: Any, fault: bool, mode: str) -> None:
    rule = thing(
        "DestinationRule", "it", spec={"host": host, "trafficPolicy": {} if tls is None else {"tls": tls}}
    )
    findings = examine("destination-rule-tls", rule).findings
    assert bool(findings) is fault
    for each in findings:
        assert (
            each.about["mode"] == "DISABLE"
            and yaml.safe_load(each.fix)["spec"]["trafficPolicy"]["tls"]["mode"] == mode
        )


API = "Gateway.gateway.networking.k8s.io"
NAMED = f"{API} shop/edge"


def listening(*listeners: dict[str, Any], of: str = "istio") -> dict[str, Any]:
    return thing(API, "edge", spec={"gatewayClassName": of, "listeners": list(listeners)})


def listener(protocol: str = "HTTP", port: int = 80, **more: Any) -> dict[str, Any]:
    return {"name": protocol.lower(), "port": port, "protocol": protocol, **more}


def route(name: str, *filters: dict[str, Any], home: str = "shop", **parent: Any) -> dict[str, Any]:
    spec = {
        "parentRefs": [{"name": "edge", "namespace": "shop", **parent}],
        "rules": [{"filters": list(filters)}],
    }
    return thing("HTTPRoute", name, home, spec)


REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}


@pytest.mark.parametrize(
    ("hostname", "severity"), [(None, "warning"), ("*.shop.test", "info"), ("a.shop.test", None)]
)
def test_hosts_of_the_gateway_api(hostname: str | None, severity: str | None) -> None:
    one = listener("HTTPS", 443, **({"hostname": hostname} if hostname else {}))
    found = examine("gateway-hosts", listening(one))
    assert told(found) == ([(severity, NAMED)] if severity else []) and found.looked == 1


@pytest.mark.parametrize(
    ("routes", "fault"),
    [
        ([], True),
        ([route("to-https", REDIRECT)], False),
        ([route("to-https", REDIRECT), route("web", home="web")], True),
        ([route("to-https", REDIRECT), route("web", sectionName="https")], False),
        ([route("to-https", REDIRECT, sectionName="http"), route("web", port=443)], False),
        ([route("to-https", {"type": "RequestRedirect", "requestRedirect": {"hostname": "b.test"}})], True),
    ],
)
def test_plain_http_of_the_gateway_api_is_there_to_be_redirected(routes: list[Any], fault: bool) -> None:
    both = listening(listener(), listener("HTTPS", 443))
    assert told(examine("gateway-tls", both, *routes)) == ([("warning", NAMED)] if fault else [])


def test_tcp_of_the_gateway_api_is_in_the_clear() -> None:
    assert told(examine("gateway-tls", listening(listener("TCP", 9000), listener("TLS", 9001)))) == [
        ("warning", NAMED)
    ]


def test_gateways_of_others_and_waypoints_are_not_judged() -> None:
    classes = [
        thing("GatewayClass", name, None, {"controllerName": controller})
        for name, controller in (
            ("istio", "istio.io/gateway-controller"),
            ("edge-class", "istio.io/gateway-controller"),
            ("gke", "networking.gke.io/gateway"),
            ("istio-waypoint", "istio.io/mesh-controller"),
        )
    ]
    for of, found in (("istio", 1), ("edge-class", 1), ("gke", 0), ("istio-waypoint", 0), ("unknown", 0)):
        assert len(told(examine("gateway-tls", listening(listener(), of=of), *classes))) == found, of
    assert len(told(examine("gateway-tls", listening(listener())))) == 1  # classes may not be readable


def test_a_gateway_api_that_may_not_be_read_is_told() -> None:
    unread = inventory(EDGE, unreadable={API: "forbidden"})
    assert unread.unreadable
    found = examine("gateway-tls", EDGE, unreadable={API: "list Gateway: forbidden"})
    assert found.notes[0].startswith("WARNING") and "forbidden" in found.notes[0]
