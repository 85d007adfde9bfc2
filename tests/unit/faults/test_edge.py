"""Faults at the edge change exactly what they say in the objects that the stages would apply."""

from __future__ import annotations

import pytest

from meshlab.faults import edge
from meshlab.faults.faults import FAULTS
from meshlab.istio.mesh import Mesh
from meshlab.security.gateways import egress, gateway_api, ingress
from meshlab.security.gateways.ingress import Alter, Document
from meshlab.security.gateways.pki import make_keys
from meshlab.security.gateways.tokens import Issuer


def way_in() -> list[Document]:
    return ingress.documents(Mesh("default"), make_keys(*ingress.HOSTS), Issuer())


def way_out() -> list[Document]:
    return [
        egress.outbound_policy("default", "REGISTRY_ONLY"),
        *egress.through_gateway(Mesh("default"), "outside"),
    ]


def changes(alter: Alter, documents: list[Document]) -> tuple[Document, Document]:
    """The one object that an alteration changes, before and after it."""
    after = alter(documents)
    differ = [(old, new) for old, new in zip(documents, after, strict=True) if old != new]
    assert len(differ) == 1
    return differ[0]


def test_a_server_of_one_host_serves_every_host() -> None:
    before, after = changes(edge.hosts_widened, way_in())
    hosts = [server["hosts"] for server in after["spec"]["servers"]]
    assert hosts.count(["*"]) == 1 and [ingress.SECURE] not in hosts
    assert [ingress.MUTUAL] in hosts and before["kind"] == "Gateway"


def by_gateway_api() -> list[Document]:
    return gateway_api.documents(Mesh("default"), make_keys(*ingress.HOSTS), Issuer())


def test_a_listener_of_one_host_takes_every_name() -> None:
    before, after = changes(edge.listener_widened, by_gateway_api())
    assert before["apiVersion"] == "gateway.networking.k8s.io/v1"
    hosts = {each["name"]: each.get("hostname") for each in after["spec"]["listeners"]}
    assert hosts["https-secure"] is None and hosts["https-token"] == ingress.TOKEN


def test_the_policies_at_a_gateway_by_gateway_api_are_changed_as_the_ingress_s() -> None:
    assert changes(edge.issuer_changed, by_gateway_api())[1]["kind"] == "RequestAuthentication"
    assert changes(edge.on_trial, by_gateway_api())[1]["metadata"]["annotations"] == {
        "istio.io/dry-run": "true"
    }


def test_another_issuer_is_expected() -> None:
    before, after = changes(edge.issuer_changed, way_in())
    assert after["spec"]["jwtRules"][0]["issuer"] == edge.STRANGER != before["spec"]["jwtRules"][0]["issuer"]


def test_the_way_out_is_open() -> None:
    _, after = changes(edge.opened, way_out())
    assert after["spec"]["outboundTrafficPolicy"] == {"mode": "ALLOW_ANY"}


def test_the_declared_host_is_called_directly() -> None:
    before, after = changes(edge.direct, way_out())
    assert [route["match"] for route in after["spec"]["http"]] == [
        route["match"] for route in before["spec"]["http"]
    ]
    hosts = {route["route"][0]["destination"]["host"] for route in after["spec"]["http"]}
    assert hosts == {"declared.outside.svc.cluster.local"}


def test_a_fault_that_would_change_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no Gateway to be changed"):
        edge.hosts_widened([])
    with pytest.raises(ValueError, match="no Sidecar was changed"):
        edge.opened([egress.outbound_policy("default", "ALLOW_ANY")])


def test_the_expired_certificates_have_expired() -> None:
    [fault] = [fault for fault in FAULTS if fault.name == "expired-gateway-certificate"]
    assert fault.edge.lifetime.total_seconds() < 0
