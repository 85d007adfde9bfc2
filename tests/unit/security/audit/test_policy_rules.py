"""Policies as Istio takes them: on trial, for a whole namespace, of nothing but stars; and which of several rules."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.security.audit.samples import examine, pod, thing, told

SHOP = pod("web", proxy="sidecar", labels={"app": "web"})
TRIAL = {"istio.io/dry-run": "true"}
OPEN = [("warning", "Namespace shop")]


def policy(spec: dict[str, Any], home: str = "shop", **meta: Any) -> dict[str, Any]:
    return thing("AuthorizationPolicy", "it", home, spec, **meta)


@pytest.mark.parametrize("home", ["shop", "istio-system"])
@pytest.mark.parametrize("value", ["true", "1", "T", "True"])
def test_what_is_on_trial_refuses_nothing(home: str, value: str) -> None:
    found = examine("default-deny", SHOP, policy({}, home, annotations={"istio.io/dry-run": value}))
    assert told(found) == OPEN and f"{home}/it" in found.notes[0]


@pytest.mark.parametrize("value", ["false", "0", "yes"])
def test_what_go_reads_as_false_is_in_force(value: str) -> None:
    assert told(examine("default-deny", SHOP, policy({}, annotations={"istio.io/dry-run": value}))) == []


@pytest.mark.parametrize("rule", ["allow-all", "deny-by-path"])
def test_what_is_on_trial_is_no_fault(rule: str) -> None:
    wide = policy({"rules": [{}]}, annotations=TRIAL)
    deny = policy(
        {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/a"]}}]}]}, "other", annotations=TRIAL
    )
    assert told(examine(rule, SHOP, wide, deny)) == []


CALLER = {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}


@pytest.mark.parametrize(
    ("spec", "closed"),
    [
        ({}, True),
        ({"rules": [CALLER]}, True),
        ({"action": "ALLOW", "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}, True),
        ({"action": "DENY", "rules": [{}]}, True),
        ({"action": "DENY", "rules": [CALLER]}, False),
        ({"action": "DENY"}, False),
        ({"rules": [{}]}, False),
        ({"rules": [CALLER, {}]}, False),
        ({"action": "AUDIT", "rules": [{}]}, False),
        ({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}, False),
        ({"selector": {"matchLabels": {"app": "web"}}, "rules": [CALLER]}, False),
        ({"targetRefs": [{"kind": "Gateway", "name": "waypoint"}], "rules": [CALLER]}, False),
    ],
)
@pytest.mark.parametrize("home", ["shop", "istio-system"])
def test_what_closes_a_namespace(spec: dict[str, Any], closed: bool, home: str) -> None:
    assert told(examine("default-deny", SHOP, policy(spec, home))) == ([] if closed else OPEN)


@pytest.mark.parametrize(
    ("rule", "wide"),
    [
        ({"to": [{"operation": {"paths": ["/{**}"]}}]}, True),
        ({"to": [{"operation": {"paths": ["/{**}"], "methods": ["*"], "hosts": ["*"]}}]}, True),
        ({"to": [{"operation": {"paths": ["/{*}"]}}]}, False),
        ({"to": [{"operation": {"paths": ["/api/{**}"]}}]}, False),
        ({"to": [{"operation": {"hosts": ["/{**}"]}}]}, False),
        ({"to": [{"operation": {"methods": ["GET"]}}, {"operation": {"paths": ["*"]}}]}, True),
        ({"from": [{"source": {"ipBlocks": ["0.0.0.0/0"]}}]}, True),
        ({"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8", "::/0"]}}]}, True),
        ({"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}, False),
        ({"from": [{"source": {"ipBlocks": ["0.0.0.0/0"], "namespaces": ["shop"]}}]}, False),
        (
            {"to": [{"operation": {"paths": ["*"]}}], "when": [{"key": "source.ip", "values": ["1.2.3.4"]}]},
            False,
        ),
    ],
)
def test_what_allows_everything(rule: dict[str, Any], wide: bool) -> None:
    found = told(examine("allow-all", SHOP, policy({"rules": [rule]})))
    assert found == ([("error", "AuthorizationPolicy shop/it")] if wide else [])


def test_the_caller_of_a_mend_is_of_the_meshs_own_trust_domain() -> None:
    (finding,) = examine("allow-all", policy({"rules": [{}]}), mesh={"trustDomain": "corp.example"}).findings
    assert "corp.example/ns/NAMESPACE/sa/CALLER" in finding.fix and "cluster.local" not in finding.fix


def peer(name: str, mode: str, home: str = "shop", made: str = "", **spec: Any) -> dict[str, Any]:
    body = {"mtls": {"mode": mode}, **spec}
    return thing("PeerAuthentication", name, home, body, creationTimestamp=made or "2026-01-01T00:00:00Z")


STRICT = peer("default", "STRICT", "istio-system")


def test_a_policy_of_the_root_namespace_with_a_selector_is_ignored_by_istio() -> None:
    ignored = peer("web", "DISABLE", "istio-system", selector={"matchLabels": {"app": "web"}})
    found = examine("strict-mtls", STRICT, ignored)
    assert told(found) == [] and found.notes[0].startswith("1 that Istio takes no notice of")


def test_of_several_for_a_namespace_the_oldest_rules_alone() -> None:
    old = peer("z", "STRICT", made="2026-01-01T00:00:00Z")
    new = peer("a", "PERMISSIVE", made="2026-02-01T00:00:00Z")
    assert told(examine("strict-mtls", STRICT, old, new)) == []
    later = peer("z", "STRICT", made="2026-03-01T00:00:00Z")
    assert told(examine("strict-mtls", STRICT, later, new)) == [("warning", "PeerAuthentication shop/a")]


def test_a_mode_that_is_unset_is_istios_own() -> None:
    (finding,) = examine("strict-mtls", peer("default", "UNSET", "istio-system")).findings
    assert finding.why.startswith("the mesh is PERMISSIVE")


def sidecar(name: str, home: str, mode: str | None, **spec: Any) -> dict[str, Any]:
    policy = {} if mode is None else {"outboundTrafficPolicy": {"mode": mode}}
    return thing("Sidecar", name, home, {**policy, **spec})


def test_a_sidecar_inherits_nothing_from_the_root_namespaces() -> None:
    root = sidecar("default", "istio-system", "REGISTRY_ONLY")
    assert told(examine("egress-policy", SHOP, root)) == []
    own = sidecar("own", "shop", None, egress=[{"hosts": ["./*"]}])
    found = examine("egress-policy", SHOP, root, own)
    assert told(found) == [("warning", "MeshConfig istio-system/istio")] and "(shop)" in found.findings[0].why


def test_of_sidecars_the_one_that_selects_the_pod_holds() -> None:
    closed = sidecar("default", "shop", "REGISTRY_ONLY")
    web = sidecar("web", "shop", None, workloadSelector={"labels": {"app": "web"}})
    cart = sidecar("cart", "shop", None, workloadSelector={"labels": {"app": "cart"}})
    assert told(examine("egress-policy", SHOP, closed, cart)) == []
    assert len(told(examine("egress-policy", SHOP, closed, web))) == 1
    strict = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    assert told(examine("egress-policy", SHOP, web, mesh=strict)) == []


def test_an_egress_proxy_goes_with_the_mode_that_it_needs() -> None:
    proxy = {"host": "egress.test", "port": {"number": 80}}
    open_ = thing(
        "Sidecar", "it", spec={"outboundTrafficPolicy": {"mode": "ALLOW_ANY", "egressProxy": proxy}}
    )
    (finding, *_) = [
        f for f in examine("egress-policy", SHOP, open_).findings if f.resource == "Sidecar shop/it"
    ]
    assert yaml.safe_load(finding.fix)["spec"] == {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    assert finding.fix.startswith("# kubectl replace")


# ── who gets around an egress gateway

CLOSED_MESH = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
LEAVES = thing("Gateway", "out", "shop", {"selector": {"istio": "egressgateway"}, "servers": []})


def kept_in(spec: dict[str, Any], home: str = "shop") -> dict[str, Any]:
    return thing("NetworkPolicy", "it", home, spec)


def test_an_egress_gateway_asks_for_a_network_policy() -> None:
    found = examine("egress-policy", SHOP, LEAVES, mesh=CLOSED_MESH)
    assert told(found) == [("warning", "Namespace shop")]
    (finding,) = found.findings
    assert "egress.no-bypass" in finding.why and finding.about == {"namespace": "shop", "around": "true"}
    assert told(examine("egress-policy", SHOP, LEAVES, yaml.safe_load(finding.fix), mesh=CLOSED_MESH)) == []


def test_without_an_egress_gateway_or_a_closed_egress_there_is_nothing_to_walk_around() -> None:
    assert told(examine("egress-policy", SHOP, mesh=CLOSED_MESH)) == []
    assert told(examine("egress-policy", SHOP, LEAVES)) == [("warning", "MeshConfig istio-system/istio")]
    enters = thing("Gateway", "in", "shop", {"selector": {"istio": "ingressgateway"}, "servers": []})
    assert told(examine("egress-policy", SHOP, enters, mesh=CLOSED_MESH)) == []


@pytest.mark.parametrize(
    ("spec", "holds"),
    [
        ({"podSelector": {}, "policyTypes": ["Egress"]}, True),
        ({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"]}, True),
        ({"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}, True),
        ({"podSelector": {"matchLabels": {"app": "cart"}}, "policyTypes": ["Egress"]}, False),
        ({"podSelector": {}, "policyTypes": ["Ingress"]}, False),
        ({"podSelector": {}}, False),
        ({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}, False),
        ({"podSelector": {}, "egress": [{"ports": [{"port": 443}]}]}, False),
        ({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}, False),
        ({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "::/0"}}]}]}, False),
        (
            {
                "podSelector": {},
                "egress": [{"to": [{"ipBlock": {"cidr": "8.0.0.0/8"}}], "ports": [{"port": 443}]}],
            },
            False,
        ),
        ({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "8.8.8.8/32"}}]}]}, True),
        ({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}, True),
        ({"podSelector": {}, "egress": [{"to": [{"namespaceSelector": {}}]}]}, True),
        (
            {
                "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]},
                "policyTypes": ["Egress"],
            },
            True,
        ),
        (
            {
                "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
                "policyTypes": ["Egress"],
            },
            False,
        ),
        (
            {
                "podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
                "policyTypes": ["Egress"],
            },
            False,
        ),
        (
            {
                "podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
                "policyTypes": ["Egress"],
            },
            True,
        ),
    ],
)
def test_which_policies_keep_a_pod_in(spec: dict[str, Any], holds: bool) -> None:
    found = examine("egress-policy", SHOP, LEAVES, kept_in(spec), mesh=CLOSED_MESH)
    assert (told(found) == []) is holds
    assert told(examine("egress-policy", SHOP, LEAVES, kept_in(spec, "other"), mesh=CLOSED_MESH)) != []


def test_rules_of_several_policies_add_up() -> None:
    closes, opens = (
        kept_in({"podSelector": {}, "policyTypes": ["Egress"]}),
        kept_in({"podSelector": {}, "egress": [{}]}),
    )
    opens["metadata"]["name"] = "open"
    assert told(examine("egress-policy", SHOP, LEAVES, closes, opens, mesh=CLOSED_MESH)) != []


def test_policies_that_may_not_be_read_are_told_and_blamed_on_nobody() -> None:
    found = examine(
        "egress-policy", SHOP, LEAVES, mesh=CLOSED_MESH, unreadable={"NetworkPolicy": "403: forbidden"}
    )
    assert told(found) == [] and "403: forbidden" in found.notes[0]
