"""The edge by Gateway API: what is applied, when it is in force, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.core.errors import WaitTimeout
from meshlab.istio.gateway_api import API_VERSION, OWN_GATEWAY
from meshlab.istio.mesh import Mesh
from meshlab.security.gateways import gateway_api, ingress
from meshlab.security.gateways.gateway_api import MADE, MUTUAL_PORT, OWNER_LABEL, SERVICE
from meshlab.security.gateways.ingress import HOSTS, MUTUAL, SECURE, TOKEN
from meshlab.security.gateways.pki import make_keys
from meshlab.security.gateways.tokens import Issuer
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube

MESH = Mesh("shop", cluster_domain="pasta.local")
KEYS, ISSUER = make_keys(*HOSTS), Issuer()


def made(kind: str, **how: bool) -> list[dict[str, Any]]:
    return [each for each in gateway_api.documents(MESH, KEYS, ISSUER, **how) if each["kind"] == kind]


def listeners(gateway: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["hostname"]: each for each in gateway["spec"]["listeners"]}


def test_everything_stands_in_the_app_s_namespace_and_istio_serves_it_without_a_load_balancer() -> None:
    documents = gateway_api.documents(MESH, KEYS, ISSUER, closed=True)
    assert {each["metadata"]["namespace"] for each in documents} == {"shop"}
    [gateway] = made("Gateway")
    assert gateway["spec"]["gatewayClassName"] == "istio"
    assert gateway["metadata"]["annotations"] == {"networking.istio.io/service-type": "ClusterIP"}
    assert f"{gateway['metadata']['name']}-istio" == SERVICE


def test_each_host_has_a_listener_with_its_own_secret() -> None:
    documents = gateway_api.documents(MESH, KEYS, ISSUER)
    [gateway] = [each for each in documents if each["kind"] == "Gateway"]
    served = listeners(gateway)
    assert {host: served[host]["port"] for host in HOSTS} == {SECURE: 443, TOKEN: 443, MUTUAL: MUTUAL_PORT}
    named = {served[host]["tls"]["certificateRefs"][0]["name"] for host in HOSTS}
    assert named == {each["metadata"]["name"] for each in documents if each["kind"] == "Secret"}


def test_known_clients_alone_are_taken_at_the_port_of_their_host() -> None:
    [gateway], [clients] = (
        [each for each in documents if each["kind"] == kind]
        for documents in [gateway_api.documents(MESH, KEYS, ISSUER)]
        for kind in ("Gateway", "ConfigMap")
    )
    frontend = gateway["spec"]["tls"]["frontend"]
    assert frontend["default"] == {}, "other ports ask nobody for a certificate"
    [port] = frontend["perPort"]
    [reference] = port["tls"]["validation"]["caCertificateRefs"]
    assert (port["port"], reference["name"]) == (MUTUAL_PORT, clients["metadata"]["name"])
    assert clients["data"] == {"ca.crt": KEYS.clients_authority.decode()}


def test_where_the_field_is_not_served_istio_s_option_asks_for_a_certificate() -> None:
    [gateway] = made("Gateway", frontend=False)
    assert "tls" not in gateway["spec"] and made("ConfigMap", frontend=False) == []
    options = {host: listeners(gateway)[host]["tls"].get("options") for host in HOSTS}
    assert options == {SECURE: None, TOKEN: None, MUTUAL: {"gateway.istio.io/tls-terminate-mode": "MUTUAL"}}


def test_only_the_page_is_routed_and_plain_http_is_sent_to_https() -> None:
    page, redirect = made("HTTPRoute")
    [rule] = page["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "Exact", "value": "/productpage"}}]
    sections = {each["sectionName"] for each in page["spec"]["parentRefs"]}
    assert sections == {"https-secure", "https-token", "https-mutual"}
    assert redirect["spec"]["parentRefs"] == [{"name": OWN_GATEWAY, "sectionName": "http"}]
    [rule] = redirect["spec"]["rules"]
    assert rule["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 301}


def test_policies_name_the_gateway_and_more_are_there_on_a_closed_mesh_only() -> None:
    [tokens], [deny] = made("RequestAuthentication"), made("AuthorizationPolicy")
    target = [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": OWN_GATEWAY}]
    assert tokens["spec"]["targetRefs"] == deny["spec"]["targetRefs"] == target
    [rule] = tokens["spec"]["jwtRules"]
    assert rule["jwksUri"] == f"http://meshlab-jwks.shop.svc.pasta.local{ingress.jwks_path(ISSUER)}"
    assert deny["spec"]["rules"][0]["to"][0]["operation"]["hosts"] == [TOKEN, f"{TOKEN}:*"]
    actions = [each["spec"]["action"] for each in made("AuthorizationPolicy", closed=True)]
    assert actions == ["DENY", "ALLOW"]


def taken(status: str = "True", *, generation: int = 2, seen: int = 2, accepted: int = 3) -> FakeKube:
    """A cluster whose istiod says this of the Gateway and of a route with three parents."""
    kube = FakeKube()
    kube.kinds |= {(API_VERSION, "Gateway"): True, (API_VERSION, "HTTPRoute"): True}
    told = {"type": "Programmed", "status": status, "observedGeneration": seen, "reason": "Invalid"}
    meta = {"name": OWN_GATEWAY, "namespace": "shop", "generation": generation}
    kube.put(
        {
            "apiVersion": API_VERSION,
            "kind": "Gateway",
            "metadata": meta,
            "status": {"conditions": [told]},
        }
    )
    [route, _] = made("HTTPRoute")
    condition = {"type": "Accepted", "status": "True", "observedGeneration": 1}
    route["metadata"]["generation"] = 1
    kube.put({**route, "status": {"parents": [{"conditions": [condition]}] * accepted}})
    return kube


@pytest.mark.parametrize(
    ("kube", "why"),
    [
        (taken("False"), "Gateway: Invalid"),
        (taken(seen=1), "Gateway: Invalid"),
        (taken(accepted=2), "accepted by 2 of 3"),
    ],
    ids=["refused", "not yet as it is now", "a parent lacks"],
)
def test_a_gateway_that_is_not_in_force_is_a_timeout_that_says_what_lacks(kube: FakeKube, why: str) -> None:
    with pytest.raises(WaitTimeout, match=why):
        gateway_api.wait_programmed(kube, "shop", clock=FakeClock())  # type: ignore[arg-type]
    gateway_api.wait_programmed(taken(), "shop", clock=FakeClock())  # type: ignore[arg-type]


def test_what_istio_made_is_looked_for_afterwards() -> None:
    kube = FakeKube()
    kube.kinds |= dict.fromkeys(MADE, True)
    for owner in (OWN_GATEWAY, "somebody-else"):
        meta = {"name": f"{owner}-istio", "namespace": "shop", "labels": {OWNER_LABEL: owner}}
        kube.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta})
    with (
        pytest.raises(WaitTimeout, match=f"Deployment {SERVICE}"),
        gateway_api.gone_afterwards(kube, "shop", clock=FakeClock()),  # type: ignore[arg-type]
    ):
        pass
    kube.delete("apps/v1", "Deployment", SERVICE, "shop")
    with gateway_api.gone_afterwards(kube, "shop", clock=FakeClock()):  # type: ignore[arg-type]
        pass
