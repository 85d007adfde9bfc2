"""Ordinary configuration, as meshes have it everywhere, stands behind what explains a check, however new it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meshlab.causes.explain import explain
from meshlab.causes.objects import Found
from meshlab.causes.trials import newer
from tests.unit.causes.worlds import (
    NAMESPACE,
    NEWER,
    ROOT,
    bookinfo,
    document,
    read_as,
    red,
    way_out,
)

PAGE_REFUSED = red(
    "app.productpage",
    "0 of 20 requests got a 200 with the title 'Simple Bookstore App' (403: 20; 0 with the title); "
    "one began 'RBAC: access denied'",
)
LOST = "lost edge reviews-v2 → ratings-v1: nothing was counted"


def rule(policy: Mapping[str, Any], host: str = "productpage", **meta: Any) -> Found:
    return document("DestinationRule", "ordinary", {"host": host, "trafficPolicy": policy}, **(meta or NEWER))


def retries(host: str = "reviews", **how: Any) -> Found:
    route = {"route": [{"destination": {"host": host}}], "retries": how}
    return document("VirtualService", "ordinary", {"hosts": [host], "http": [route]}, **NEWER)


def refuses(name: str, app: str = "") -> Found:
    selector = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return document(
        "AuthorizationPolicy",
        name,
        {**selector, "action": "DENY", "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]},
    )


def named(check: Mapping[str, Any], *objects: Found) -> list[str]:
    found = explain([check], [*bookinfo(), *objects], namespace=NAMESPACE, root=ROOT)
    return [each.object for each in found if each.object != f"EnvoyFilter {ROOT}/metrics"]


def test_a_newer_rule_that_ejects_after_many_errors_stands_behind_the_policy_that_refuses() -> None:
    account = {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/nobody"]}}]}
    spec = {"selector": {"matchLabels": {"app": "productpage"}}, "action": "ALLOW", "rules": [account]}
    policy = document("AuthorizationPolicy", "wrong-account", spec)
    lax = rule({"outlierDetection": {"consecutive5xxErrors": 50}})
    assert named(PAGE_REFUSED, policy, lax) == [str(policy)]
    assert named(red("app.productpage"), policy, lax) == [str(policy)], "whatever Envoy said"
    strict = rule({"outlierDetection": {"consecutive5xxErrors": 1}})
    assert named(red("app.productpage"), policy, strict) == [str(policy), str(strict)]


@pytest.mark.parametrize("check", ["graph.edges", "prometheus.code-200", "grafana.mesh"])
@pytest.mark.parametrize("app", ["reviews", ""], ids=["of the workload", "of the namespace"])
@pytest.mark.parametrize("how", [{"attempts": 2}, {"attempts": 3, "retryOn": "5xx"}], ids=["default", "more"])
def test_newer_retries_stand_behind_the_policy_that_refuses(check: str, app: str, how: Any) -> None:
    policy = refuses("denies", app)
    assert named(red(check, LOST), policy, retries(**how))[0] == str(policy)


@pytest.mark.parametrize("check", ["prometheus.reconcile", "mtls.counter"])
def test_where_a_request_too_many_counts_retries_are_named_first(check: str) -> None:
    """Seen live: both VirtualServices ask again, and the check names the workload of one of them."""
    told = red(check, "sleep → productpage-v1: 30 sent, 59 counted as mutual_tls, 0 otherwise")
    culprit = document(
        "VirtualService", "hides-errors", {**retries("productpage", attempts=20, retryOn="5xx").spec}
    )
    assert named(told, refuses("denies", "ratings"), culprit, retries(attempts=3, retryOn="5xx"))[0] == str(
        culprit
    )


@pytest.mark.parametrize(
    "policy",
    [
        {"outlierDetection": {}},
        {"outlierDetection": {"consecutive5xxErrors": 5, "interval": "1s"}},
        {"outlierDetection": {"consecutiveGatewayErrors": 0}},
        {"connectionPool": {"tcp": {"maxConnections": 100}, "http": {"http2MaxRequests": 1000}}},
        {"connectionPool": {"http": {"maxRequestsPerConnection": 1}}},
    ],
    ids=str,
)
def test_limits_that_a_lab_never_reaches_explain_nothing(policy: dict[str, Any]) -> None:
    assert named(red("app.productpage"), rule(policy)) == []


@pytest.mark.parametrize(
    "policy",
    [
        {"outlierDetection": {"consecutive5xxErrors": 50, "consecutiveGatewayErrors": 1}},
        {"connectionPool": {"http": {"http2MaxRequests": 1}}},
    ],
    ids=str,
)
def test_limits_that_a_lab_reaches_are_named(policy: dict[str, Any]) -> None:
    assert named(red("app.productpage"), rule(policy)) == ["DestinationRule shop/ordinary"]


def test_an_envoy_filter_of_the_workload_stands_behind_what_is_done_to_the_whole_namespace() -> None:
    spec = {
        "workloadSelector": {"labels": {"app": "reviews"}},
        "configPatches": [{"applyTo": "HTTP_FILTER"}],
    }
    told = red("graph.edges", "lost edge productpage-v1 → reviews-v1")
    assert (
        named(told, document("EnvoyFilter", "x", spec, **NEWER), refuses("denies"))[0]
        == "AuthorizationPolicy shop/denies"
    )


@pytest.mark.parametrize(
    ("override", "explains"),
    [
        ({"tagOverrides": {"response_code": {"operation": "REMOVE"}}}, True),
        ({"disabled": True}, True),
        ({"tagOverrides": {"team": {"value": "'mesh'"}}}, False),
        ({"tagOverrides": {"request_protocol": {"operation": "REMOVE"}}}, False),
    ],
    ids=str,
)
def test_a_telemetry_explains_only_metrics_that_the_checks_ask_for(
    override: dict[str, Any], explains: bool
) -> None:
    telemetry = document("Telemetry", "tags", {"metrics": [{"overrides": [override]}]}, **NEWER)
    found = named(red("prometheus.code-200"), refuses("denies", "reviews"), telemetry)
    assert (str(telemetry) in found) is explains
    assert not explains or found[0] == str(telemetry)


def test_a_network_policy_that_lets_everything_pass_cuts_nothing() -> None:
    def of(spec: dict[str, Any]) -> list[str]:
        policy = document("NetworkPolicy", "x", {"podSelector": {"matchLabels": {"app": "details"}}, **spec})
        return named(red("graph.edges"), policy)

    assert of({"ingress": [{}]}) == of({"policyTypes": ["Egress"], "egress": [{}]}) == []
    assert of({"ingress": []}) == of({"ingress": [{}], "egress": [{"ports": []}]}) == ["NetworkPolicy shop/x"]


def test_the_way_through_the_egress_gateway_explains_nothing_but_what_is_declared() -> None:
    """The Sidecar closes the way out and the route leads through the gateway, as they should."""
    made = [read_as(each) for each in way_out(lambda documents: documents)]
    assert named(red("egress.gateway", "5 requests to the declared host were sent"), *made) == [
        "ServiceEntry shop/meshlab-egress"
    ]


def test_the_harmless_changes_of_the_trials_explain_nothing_first() -> None:
    objects = [*newer([*bookinfo(), refuses("denies", "reviews")], NAMESPACE, "2026-11-28T12:00:00Z")]
    for check in ("graph.edges", "prometheus.code-200", "grafana.mesh", "jaeger.productpage-traces"):
        found = explain([red(check, LOST)], objects, namespace=NAMESPACE, root=ROOT)
        assert found[0].object == "AuthorizationPolicy shop/denies"
