"""The planted object is named whatever is known of its history; what is newer and does no harm explains nothing."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.causes.explain import explain
from meshlab.causes.objects import Found
from meshlab.causes.snapshot import Baseline, entry_of
from meshlab.causes.trials import BESIDE_NEWER, WITHOUT_HISTORY, newer, tried

NOW = "2026-11-28T12:00:00Z"
ABORTS = Found(
    "VirtualService", "shop", "aborts",
    {"hosts": ["productpage"], "http": [{"fault": {"abort": {"httpStatus": 500}}}]},
    changed="created 2020-01-01T00:00:00Z by somebody",
)  # fmt: skip
DETAILS = Found("Service", "shop", "details", {"ports": [{"port": 9080, "name": "http"}]})
RED: dict[str, Any] = {
    "id": "app.productpage", "verdict": "fail", "summary": "0 of 20", "reason": "500", "evidence": {},
}  # fmt: skip


def test_the_planted_object_stands_first_in_each_way() -> None:
    old = Baseline("earlier", {"check-app": {str(each): entry_of(each) for each in (DETAILS, ABORTS)}})
    found = tried([RED], [DETAILS, ABORTS], namespace="shop", root="mesh", green=old, now=NOW)
    assert set(found) == {WITHOUT_HISTORY, BESIDE_NEWER}
    for causes in found.values():
        assert causes[0].object == "VirtualService shop/aborts"
    assert found[WITHOUT_HISTORY][0].change == ""
    assert "2020" in found[BESIDE_NEWER][0].change


def test_the_newer_changes_are_there_and_of_the_same_traffic() -> None:
    found = {str(each): each for each in newer([DETAILS, ABORTS], "shop", NOW)}
    fresh = [name for name, each in found.items() if NOW in each.changed]
    assert fresh == [
        "Service shop/details",
        "VirtualService shop/harmless-retries",
        "DestinationRule shop/harmless-limits",
        "AuthorizationPolicy shop/harmless-denial",
    ]
    assert found["Service shop/details"].annotations and not DETAILS.annotations


def test_of_what_is_new_only_a_policy_that_refuses_something_is_named() -> None:
    found = explain([RED], [*newer([DETAILS], "shop", NOW)], namespace="shop", root="mesh")
    assert [each.object for each in found] == ["AuthorizationPolicy shop/harmless-denial"]


POLICY = {"selector": {"matchLabels": {"app": "productpage"}}}


@pytest.mark.parametrize(
    ("paths", "first"),
    [
        (["/nobody-asks"], "allows-nobody"),
        (["/admin*", "/x/{*}/y"], "allows-nobody"),
        (["/productpage"], "denies"),
        (["/prod*"], "denies"),
        (["*"], "denies"),
        (["{**}/page"], "denies"),
        (None, "denies"),
    ],
)
def test_a_newer_denial_of_other_paths_is_no_better_cause(paths: list[str] | None, first: str) -> None:
    principals = [{"source": {"principals": ["cluster.local/ns/shop/sa/nobody"]}}]
    older = Found(
        "AuthorizationPolicy", "shop", "allows-nobody", {**POLICY, "rules": [{"from": principals}]},
        changed="created 2020-01-01T00:00:00Z by somebody",
    )  # fmt: skip
    rule = {"to": [{"operation": {"methods": ["GET"]} if paths is None else {"paths": paths}}]}
    denial = {**POLICY, "action": "DENY", "rules": [rule]}
    denies = Found("AuthorizationPolicy", "shop", "denies", denial, changed=f"created {NOW} by somebody")
    found = explain([RED], [older, denies], namespace="shop", root="mesh")
    assert found[0].object == f"AuthorizationPolicy shop/{first}"
    assert len(found) == 2


def test_a_finding_that_is_accepted_is_no_cause_of_the_others() -> None:
    off = {"trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    planted = Found("DestinationRule", "shop", "planted", {"host": "reviews", **off}, changed="")
    probe = Found(
        "DestinationRule", "shop", "probe", {"host": "probe", **off}, changed=f"created {NOW} by us"
    )
    findings = [{"resource": f"DestinationRule shop/{name}"} for name in ("planted", "probe")]
    check = {**RED, "id": "audit.destination-rule-tls", "evidence": {"findings": findings}}
    check["reason"] = "error DestinationRule shop/planted: it switches TLS off"
    assert explain([check], [planted, probe], namespace="shop", root="mesh")[0].object.endswith("/planted")


def test_what_is_done_counts_more_than_where_it_stands() -> None:
    """A Gateway of somebody else takes our host: ours is newer, and in the app's namespace."""
    servers = [{"hosts": ["secure.test"]}]
    ours = Found("Gateway", "shop", "ours", {"servers": servers}, changed=f"created {NOW} by us")
    route = Found(
        "VirtualService", "shop", "ours", {"hosts": ["secure.test"], "gateways": ["ours"]}, changed=""
    )
    theirs = Found("Gateway", "mesh", "theirs", {"servers": servers}, changed="created 2020 by somebody")
    check = {**RED, "id": "ingress.https", "reason": "secure.test: connection closed in the handshake"}
    assert (
        explain([check], [ours, route, theirs], namespace="shop", root="mesh")[0].object
        == "Gateway mesh/theirs"
    )


def test_a_deployment_without_replicas_explains_its_service_without_pods() -> None:
    labels = {"app": "istiod"}
    template = {"metadata": {"labels": labels}}
    away = Found("Deployment", "mesh", "istiod", {"replicas": 0, "template": template}, changed="")
    service = Found(
        "Service", "mesh", "istiod", {"selector": labels, "ports": []}, changed=f"created {NOW} by us"
    )
    check = {**RED, "id": "istio.control-plane", "reason": "istiod has no pod"}
    found = explain([check], [service, away], namespace="shop", root="mesh")
    assert [each.object for each in found] == ["Deployment mesh/istiod"]
    assert explain([check], [service], namespace="shop", root="mesh")[0].object == "Service mesh/istiod"


def test_what_wants_no_sidecar_does_not_explain_that_another_has_none() -> None:
    off = {
        "template": {"metadata": {"labels": {"app": "plaintext-caller", "sidecar.istio.io/inject": "false"}}}
    }
    caller = Found("Deployment", "shop", "plaintext-caller", off, changed=f"created {NOW} by us")
    addon = Found("Deployment", "mesh", "jaeger", off, changed=f"created {NOW} by us")
    nobody = {"name": "nobody", "namespace": "mesh"}
    hooks = {"webhooks": [{"service": nobody, "failurePolicy": "Ignore"}]}
    webhook = Found("MutatingWebhookConfiguration", "", "istio-sidecar-injector", hooks)
    lacking = [{"pod": "details-v1-5cdd9c68fc-4chnk"}, {"pod": "plaintext-caller-6d875bbd7f-h6t7j"}]
    check = {**RED, "id": "istio.injection", "evidence": {"pods": lacking}}
    check["reason"] = "1 of 8 pods have no sidecar: details-v1-5cdd9c68fc-4chnk"
    found = explain([check], [caller, addon, webhook], namespace="shop", root="mesh")
    assert [each.object for each in found] == ["MutatingWebhookConfiguration istio-sidecar-injector"]
