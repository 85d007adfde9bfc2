"""Meshes as others have them: right is what Istio and Envoy do, read in their source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshlab.istio.mesh import Mesh as Facts
from meshlab.kube.pods import summarise
from meshlab.security.authorization.cases import SERVICES, Case, Client
from meshlab.security.authorization.cluster import Target, read_mesh, request_of
from meshlab.security.authorization.model import Identity, Outcome, Request, Workload
from meshlab.security.authorization.transport import mutual_tls
from tests.fakes.kube import FakeKube, make_pod
from tests.unit.security.authorization.policies import (
    FOO,
    NOW,
    answer,
    jwt,
    mesh,
    policy,
    request,
    source,
    token,
    when,
)

A, D, U = Outcome.ALLOW, Outcome.DENY, Outcome.UNKNOWN
CORP = "{trustDomain: corp.example, trustDomainAliases: [old.example]}"
URI = "https://keys.example.com/jwks"


def asked_by(domain: str) -> Request:
    return replace(request(), peer=Identity(domain, "shop", "web"))


@pytest.mark.parametrize(
    ("fields", "domain", "matches"),
    [
        # In a principal cluster.local points at the mesh's own domain, and that means its aliases too.
        ("{principals: [cluster.local/ns/shop/sa/web]}", "corp.example", True),
        ("{principals: [cluster.local/ns/shop/sa/web]}", "old.example", True),
        ("{principals: [cluster.local/ns/shop/sa/web]}", "cluster.local", False),
        ("{principals: [old.example/ns/shop/sa/web]}", "corp.example", True),
        ("{principals: ['corp.example/ns/shop/sa/*']}", "old.example", True),
        ("{principals: ['*.example/ns/shop/sa/web']}", "third.example", True),
        ("{principals: ['third.example/ns/shop/sa/web']}", "corp.example", False),
        ("{principals: ['cluster.local/ns/shop/*']}", "corp.example", False),  # four parts: as it stands
        ("{principals: ['*/ns/shop/sa/web']}", "third.example", True),
        ("{notPrincipals: [cluster.local/ns/shop/sa/web]}", "corp.example", False),
        ("{notPrincipals: [cluster.local/ns/shop/sa/web]}", "third.example", True),
        ("{trustDomains: [corp.example]}", "old.example", True),
        ("{trustDomains: [cluster.local]}", "corp.example", False),  # a pointer in principals alone
        ("{trustDomains: ['old*']}", "corp.example", False),
        ("{notTrustDomains: [old.example]}", "corp.example", False),
    ],
)
def test_trust_domains_of_policies(fields: str, domain: str, matches: bool) -> None:
    allow, deny = policy(source(fields)), policy(f"{{action: DENY, {source(fields)}}}")
    sent = asked_by(domain)
    assert answer(mesh(allow, mesh_config=CORP), sent).outcome is (A if matches else D)
    assert answer(mesh(deny, mesh_config=CORP), sent).outcome is (D if matches else A)


def test_conditions_expand_trust_domains_alike() -> None:
    by_name = policy(when("source.principal", "values: [cluster.local/ns/shop/sa/web]"))
    by_domain = policy(when("source.trustDomain", "notValues: [old.example]"))
    assert answer(mesh(by_name, mesh_config=CORP), asked_by("old.example")).outcome is A
    assert answer(mesh(by_domain, mesh_config=CORP), asked_by("corp.example")).outcome is D


def peer_auth(
    name: str, mode: str, *, namespace: str = "foo", created: str = "", **spec: Any
) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"metadata": meta, "spec": {**({"mtls": {"mode": mode}} if mode else {}), **spec}}


LABELS = {"selector": {"matchLabels": {"app": "httpbin"}}}


def test_a_selector_in_the_root_namespace_is_ignored() -> None:
    found = mesh(peers=[peer_auth("a", "STRICT", namespace="istio-system", **LABELS)])
    assert mutual_tls(found, FOO, 8000) == "PERMISSIVE"
    own = Workload("istio-system", {"app": "httpbin"})
    assert mutual_tls(found, own, 8000) == "PERMISSIVE"


def test_of_two_in_one_layer_the_oldest_alone_is_in_force() -> None:
    newer = peer_auth("a", "STRICT", created="2026-02-01T00:00:00Z", portLevelMtls={9000: {"mode": "DISABLE"}},
                      **LABELS)  # fmt: skip
    older = peer_auth("b", "", created="2026-01-01T00:00:00Z", portLevelMtls={8000: {"mode": "UNSET"}},
                      **LABELS)  # fmt: skip
    below = peer_auth("ns", "DISABLE", created="2026-03-01T00:00:00Z")
    found = mesh(peers=[newer, older, below])
    assert [mutual_tls(found, FOO, port) for port in (8000, 9000)] == ["DISABLE", "DISABLE"]
    assert mutual_tls(mesh(peers=[newer, below]), FOO, 8000) == "STRICT"


BY_PRINCIPAL = policy(source("{principals: ['*']}"))


def rule(mode: str, *, host: str = "httpbin", namespace: str = "foo", **spec: Any) -> dict[str, Any]:
    policy_of = {"trafficPolicy": {"tls": {"mode": mode}}}
    return {"metadata": {"name": "d", "namespace": namespace}, "spec": {"host": host, **policy_of, **spec}}


@pytest.mark.parametrize(
    ("mode", "rules", "outcome"),
    [
        ("PERMISSIVE", [], A),
        ("DISABLE", [], D),  # auto mTLS sends plaintext where the other side takes nothing else
        ("PERMISSIVE", [rule("DISABLE")], D),
        ("PERMISSIVE", [rule("DISABLE", host="httpbin.foo.svc.cluster.local", namespace="default")], D),
        ("PERMISSIVE", [rule("DISABLE", host="*.foo.svc.cluster.local", namespace="istio-system")], D),
        ("PERMISSIVE", [rule("DISABLE", exportTo=["."])], A),  # the caller does not see it
        ("PERMISSIVE", [rule("DISABLE", host="other")], A),
        ("PERMISSIVE", [rule("DISABLE"), rule("ISTIO_MUTUAL", host="httpbin.foo.svc.cluster.local", namespace="default")], A),
        ("STRICT", [rule("DISABLE")], Outcome.UNREACHABLE),
        ("DISABLE", [rule("ISTIO_MUTUAL")], Outcome.UNREACHABLE),
        ("PERMISSIVE", [rule("SIMPLE")], U),
        ("PERMISSIVE", [rule("DISABLE"), rule("ISTIO_MUTUAL")], U),
        ("PERMISSIVE", [rule("DISABLE", workloadSelector={"matchLabels": {"app": "sleep"}})], U),
    ],
)  # fmt: skip
def test_an_identity_arrives_by_mutual_tls_alone(
    mode: str, rules: list[dict[str, Any]], outcome: Outcome
) -> None:
    found = mesh(BY_PRINCIPAL, peers=[peer_auth("p", mode)], destinations=rules)
    assert answer(found, request(service="httpbin.foo")).outcome is outcome


def test_without_auto_mutual_tls_no_identity_arrives() -> None:
    found = mesh(BY_PRINCIPAL, mesh_config="enableAutoMtls: false")
    assert answer(found, request(service="httpbin.foo")).outcome is D


def test_a_disabled_port_leaves_its_neighbours() -> None:
    peers = [peer_auth("p", "STRICT", portLevelMtls={"8000": {"mode": "DISABLE"}}, **LABELS)]
    found = mesh(BY_PRINCIPAL, peers=peers)
    assert answer(found, request(service="httpbin.foo")).outcome is D
    assert answer(found, request(service="httpbin.foo", port=9000)).outcome is A


@pytest.mark.parametrize(
    ("key", "values", "line", "matches"),
    [
        (":method", "['GET']", "GET /a", True),
        (":method", "['POST']", "GET /a", False),
        (":path", "['/admin*']", "GET /x/../admin?q=1", True),
        (":path", "['/admin']", "GET /admin?q=1", False),  # with the query
        (":authority", "['httpbin.foo:8000']", "GET /", True),
        (":authority", "['HTTPBIN.foo:8000']", "GET /", False),  # unlike hosts, case counts
        ("Host", "['httpbin*']", "GET /", True),
    ],
)
def test_headers_of_the_first_line(key: str, values: str, line: str, matches: bool) -> None:
    deny = policy(f"{{action: DENY, {when(f'request.headers[{key}]', f'values: {values}')}}}")
    assert answer(mesh(deny), request(line)).outcome is (D if matches else A)


def decided(sent: Any, fetched: dict[str, bool] | None = None, **rule: Any) -> Outcome:
    found = replace(mesh(authentications=[jwt(**rule)]), fetched=fetched or {})
    return answer(found, request(token=sent)).outcome


def test_a_rule_without_an_issuer_takes_any() -> None:
    any_issuer = {"issuer": "", "jwks": None, "jwksUri": URI}
    assert decided(token(iss="https://other.example.com"), {URI: True}, **any_issuer) is A


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"exp": NOW - 30}, A),
        ({"exp": NOW - 60}, A),
        ({"exp": NOW - 61}, Outcome.UNAUTHENTICATED),
        ({"nbf": NOW + 30}, A),
        ({"nbf": NOW + 61}, Outcome.UNAUTHENTICATED),
        ({"exp": None}, Outcome.UNAUTHENTICATED),
        ({"exp": "abc"}, Outcome.UNAUTHENTICATED),
        ({"exp": -1}, Outcome.UNAUTHENTICATED),
        ({"aud": 5}, Outcome.UNAUTHENTICATED),
        ({"aud": ["a", 5]}, Outcome.UNAUTHENTICATED),
        ({"sub": 5}, Outcome.UNAUTHENTICATED),
    ],
)
def test_times_and_kinds_of_claims(claims: dict[str, Any], outcome: Outcome) -> None:
    assert decided(token(**claims)) is outcome


def test_the_audience_is_asked_before_the_signature() -> None:
    forged = token(signed=False, aud="films")
    assert decided(forged, audiences=["books"]) is Outcome.FORBIDDEN_TOKEN
    assert (
        decided(token(signed=False, aud="films", exp=NOW - 100), audiences=["books"])
        is Outcome.UNAUTHENTICATED
    )


@pytest.mark.parametrize(
    ("one", "other"), [("https://a/", "https://a"), ("http://a", "https://a/"), ("a", "http://a")]
)
def test_audiences_are_compared_without_scheme_and_slash(one: str, other: str) -> None:
    assert decided(token(aud=one), audiences=[other]) is A
    assert decided(token(aud=one + "b"), audiences=[other]) is Outcome.FORBIDDEN_TOKEN


def test_keys_that_are_fetched() -> None:
    elsewhere = {"jwks": None, "jwksUri": URI}
    assert decided(token(), {URI: True}, **elsewhere) is A
    assert decided(token(), {URI: False}, **elsewhere) is Outcome.UNAUTHENTICATED
    assert decided(token(), **elsewhere) is U
    assert decided(token(signed=False), **elsewhere) is Outcome.UNAUTHENTICATED  # whatever the keys are
    found = answer(mesh(authentications=[jwt(**elsewhere)]), request(token=token()))
    assert any(URI in said for said in found.unknown)


def test_a_preflight_needs_no_token() -> None:
    preflight = {"origin": "https://a", "access-control-request-method": "POST"}
    found = mesh(authentications=[jwt()])
    sent = request("OPTIONS /", token=token(signed=False), headers=preflight)
    assert answer(found, sent).outcome is A
    assert answer(found, replace(sent, method="GET")).outcome is Outcome.UNAUTHENTICATED


def test_a_target_that_is_a_gateway_never_concerns_a_sidecar() -> None:
    for kind in ("Gateway", "Service", "GatewayClass"):
        text = f"{{targetRefs: [{{kind: {kind}, name: httpbin}}], action: DENY, rules: [{{}}]}}"
        assert answer(mesh(policy(text)), request()).outcome is A
    gateway = Workload("foo", {"gateway.networking.k8s.io/gateway-name": "gate"})
    shut = "{{targetRefs: [{{kind: Gateway, name: {}}}], action: DENY, rules: [{{}}]}}"
    assert answer(mesh(policy(shut.format("gate"))), request(), gateway).outcome is D
    assert answer(mesh(policy(shut.format("other"))), request(), gateway).outcome is A


def test_the_mesh_is_read_as_istiod_reads_it() -> None:
    """By the one reading of the mesh: its revision's configuration and the cluster's own domain."""
    config = {"pathNormalization": {"normalization": "MERGE_SLASHES"}, "trustDomainAliases": ["old.example"]}
    facts = Facts("foo", config=config, trust_domain="corp.example", cluster_domain="pasta.local",
                  root_namespace="mesh-config")  # fmt: skip
    kube = FakeKube()
    for kind in ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication"):
        kube.kinds["security.istio.io/v1", kind] = True
    kube.kinds["networking.istio.io/v1", "DestinationRule"] = True
    found = read_mesh(kube, "security.istio.io/v1", facts)  # type: ignore[arg-type]
    assert (found.trust_domain, found.root_namespace) == ("corp.example", "mesh-config")
    assert found.domains == ("corp.example", "old.example")
    assert (found.normalization, found.cluster_domain) == ("MERGE_SLASHES", "pasta.local")
    details = Target(SERVICES[1], "foo", (summarise(make_pod("details", namespace="foo")),))
    client = Client("sleep", "", Identity("corp.example", "foo", "sleep"))
    case = Case("sleep", "details", "GET", "/")
    assert request_of(case, client, details, {}, cluster_domain=found.cluster_domain).sni == (
        "outbound_.9080_._.details.foo.svc.pasta.local"
    )
