"""A red check is explained by the object that does what the check saw: the planted one stands first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.app import fence, room
from meshlab.causes.explain import OWN, Cause, explain
from meshlab.causes.kinds import READERS
from meshlab.causes.objects import KINDS, Found, found_of, read
from meshlab.faults import edge, scraping
from meshlab.faults.fault import Fault
from meshlab.faults.faults import FAULTS
from meshlab.faults.planters import object_of
from meshlab.report.causes import place_of
from tests.fakes.kube import FakeKube
from tests.unit.causes.worlds import (
    BARE,
    HARMLESS,
    HOOK,
    NAMESPACE,
    NEWER,
    ROOT,
    SEEN,
    TOLD,
    bookinfo,
    document,
    edge_of,
    prometheus,
    red,
    world_of,
)

PLANTED = [fault for fault in FAULTS if object_of(fault, NAMESPACE)]
OLD, NEW = "2026-11-27T09:00:00Z", "2026-11-28T09:00:00Z"
HARMLESS_NEWER = tuple(replace(each, changed=f"changed {NEW} by kubectl") for each in HARMLESS)


@pytest.mark.parametrize(
    ("changed", "beside"),
    [(OLD, ()), ("", ()), (OLD, HARMLESS_NEWER), ("", HARMLESS_NEWER)],
    ids=["as it is", "without managedFields", "beside newer ones", "both"],
)
@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_the_planted_object_is_named_first(fault: Fault, changed: str, beside: tuple[Found, ...]) -> None:
    objects = [*world_of(fault, changed=changed), *beside]
    told = TOLD.get(fault.name, "0 of 20 as expected")
    checks = [red(each, told, evidence=SEEN.get(each)) for each in fault.must]
    found = [asdict(each) for each in explain(checks, objects, namespace=NAMESPACE, root=ROOT)]
    culprit = object_of(fault, NAMESPACE) or ""
    assert place_of(found, culprit) == 1, found
    first = {
        check: next((each["object"] for each in found if each["check"] == check), "") for check in fault.must
    }
    assert {check: each for check, each in first.items() if not fnmatchcase(each, culprit)} == {}
    assert all(each["why"] for each in found)


def test_a_green_check_has_no_cause_and_neither_has_one_that_nothing_explains() -> None:
    green = {**red("app.productpage"), "verdict": "pass"}
    assert explain([green, red("cluster.nodes-ready")], bookinfo(), namespace=NAMESPACE, root=ROOT) == ()


def test_the_lab_s_own_mesh_explains_no_slow_page() -> None:
    found = explain([red("app.productpage")], [*bookinfo(), *HARMLESS], namespace=NAMESPACE, root=ROOT)
    assert {cause.object for cause in found} <= {"EnvoyFilter istio-system/metrics"}, (
        "what a filter does is not known"
    )


MORE: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent / "objects.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("fault", MORE)
def test_other_kinds_of_faults_are_named_first(fault: str) -> None:
    each = MORE[fault]
    meta = {key: each[key] for key in ("labels", "annotations") if key in each}
    culprit = document(each["kind"], each.get("name", "x"), each["spec"], **meta)
    others = [known for known in bookinfo() if str(known) != str(culprit)]
    found = explain([red(each["check"])], [*others, *HARMLESS, culprit], namespace=NAMESPACE, root=ROOT)
    assert [cause.object for cause in found][:1] == [str(culprit)], found


def test_a_policy_in_dry_run_refuses_nothing() -> None:
    policy = document("AuthorizationPolicy", "x", {}, annotations={"istio.io/dry-run": "true"})
    found = explain([red("app.productpage")], [*bookinfo(), policy], namespace=NAMESPACE, root=ROOT)
    assert str(policy) not in {cause.object for cause in found}


def test_what_the_run_allows_itself_on_a_closed_mesh_explains_nothing() -> None:
    assert set(OWN) == {room.CALLS, room.PLAINTEXT, room.SCOPE, fence.NAME}
    rules = [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/sleep"]}}]}]

    def policy(name: str, app: str, namespace: str = NAMESPACE, **meta: Any) -> Found:
        spec = {"selector": {"matchLabels": {"app": app}}, "action": "ALLOW", "rules": rules}
        return document("AuthorizationPolicy", name, spec, **{"namespace": namespace, **meta})

    ours = [
        policy(f"{kind}-{app}", app, **NEWER)
        for kind in (room.CALLS, room.PLAINTEXT)
        for app in ("productpage", "details", "reviews", "ratings")
    ]
    culprit = policy("only-for-nobody", "productpage")
    check = red("app.productpage", "0 of 20", {"body": "RBAC: access denied"})
    world = [each for each in bookinfo() if each.kind != "EnvoyFilter"]
    found = explain([check], [*world, *ours, culprit], namespace=NAMESPACE, root=ROOT)
    assert [each.object for each in found] == [str(culprit)]
    elsewhere = policy(f"{room.CALLS}-x", "productpage", ROOT)
    found = explain([check], [*world, *ours, elsewhere], namespace=NAMESPACE, root=ROOT)
    assert [each.object for each in found] == [str(elsewhere)], "in another namespace it is somebody else's"


def test_who_changed_it_last_stands_beside_it_and_does_not_decide_alone() -> None:
    aborts = {"hosts": ["productpage"], "http": [{"fault": {"abort": {"httpStatus": 500}}}]}
    culprit = document("VirtualService", "x", aborts)
    newer = document(
        "DestinationRule", "y", {"host": "other.example", "trafficPolicy": {"outlierDetection": {}}}, **NEWER
    )
    found = explain([red("app.productpage")], [*bookinfo(), newer, culprit], namespace=NAMESPACE, root=ROOT)
    assert found[0] == Cause("app.productpage", str(culprit), "", found[0].why)
    changed = document("VirtualService", "x", aborts, **NEWER)
    (first, *_) = explain([red("app.productpage")], [*bookinfo(), changed], namespace=NAMESPACE, root=ROOT)
    assert "2026-11-28T09:00:00Z" in first.change and "kubectl" in first.change


def test_every_kind_that_is_read_has_its_reader() -> None:
    assert set(READERS) == {kind for _, kind in KINDS}


@pytest.mark.parametrize("check", ["envoy.dashboard", "prometheus.requests-total", "graph.edges"])
def test_an_addon_or_gateway_of_the_control_plane_does_not_explain_the_apps_traffic(check: str) -> None:
    """Seen live: both stood before the planted Service, as the evidence of these checks names them."""
    apart = {"labels": {"app": "prometheus"}, "annotations": {"sidecar.istio.io/inject": "false"}}
    addon = {"metadata": {"name": "prometheus", "namespace": ROOT}, "spec": {"template": {"metadata": apart}}}
    tcp = {"selector": {"app": "gateway"}, "ports": [{"port": 31400, "name": "tcp"}]}
    gateway = {"metadata": {"name": "gateway", "namespace": ROOT}, "spec": tcp}
    pod = {"metadata": {"name": "gateway-x", "namespace": ROOT, "labels": {"app": "gateway"}}, "spec": {}}
    planted = document(
        "Service", "details", {"selector": {"app": "details"}, "ports": [{"port": 9080, "name": "tcp-web"}]}
    )
    world = {
        str(each): each
        for each in (
            *bookinfo(),
            found_of("Deployment", addon),
            found_of("Service", gateway),
            found_of("Pod", pod),
            planted,
        )
    }
    said = red(check, "prometheus and gateway were asked about details")
    found = [each.object for each in explain([said], list(world.values()), namespace=NAMESPACE, root=ROOT)]
    assert found[0] == "Service shop/details" and not [
        each for each in found if f" {ROOT}/" in each and "Filter" not in each
    ]


def test_what_a_dashboard_lists_beside_the_queries_that_failed_explains_nothing() -> None:
    """Seen live: the Service of the echo stood first, as the table of all queries names it."""
    planted = found_of("ConfigMap", prometheus(scraping.without_istiod)[0])
    said = red("grafana.all-panels", evidence={"targets": [{"query": 'rate(x{destination="tcp-echo"})'}]})
    found = explain([said], [*bookinfo(), planted], namespace=NAMESPACE, root=ROOT)
    assert found[0].object == "ConfigMap istio-system/prometheus"
    assert "Service shop/tcp-echo" not in {each.object for each in found}


@pytest.mark.parametrize("check", ["mtls.packets", "mtls.identity", "grafana.workload", "graph.edges"])
def test_a_hidden_service_explains_requests_in_clear(check: str) -> None:
    """Seen live: what the Sidecar of reviews hides is passed through in clear, by nobody's identity."""
    sidecar = {
        "workloadSelector": {"labels": {"app": "reviews"}},
        "egress": [{"hosts": ["./details.shop.svc"]}],
    }
    planted = document("Sidecar", "only-what-we-need", sidecar)
    said = red(check, "reviews-v2 → ratings-v1: 15 HTTP messages in clear on eth0")
    found = explain([said], [*bookinfo(), planted], namespace=NAMESPACE, root=ROOT)
    assert found[0].object == "Sidecar shop/only-what-we-need"


def test_objects_that_only_look_like_a_fault_explain_nothing() -> None:
    own = prometheus(lambda settings: None)[0]
    kept = {"action": "labeldrop", "regex": "(source|destination)_peer"}
    others = {"action": "drop", "source_labels": ["__name__"], "regex": "go_.*"}
    relabelled = prometheus(lambda s: s["scrape_configs"][0].update(metric_relabel_configs=[kept, others]))[0]
    fails = {**HOOK, "failurePolicy": "Fail"}
    there = {**HOOK, "clientConfig": {"service": {"name": "ingressgateway", "namespace": ROOT}}}
    other = {**HOOK, "name": "pods.example.com"}
    hooks = [
        found_of("MutatingWebhookConfiguration", {"metadata": {"name": name}, "webhooks": [hook]})
        for name, hook in (("fails", fails), ("there", there), ("other", other))
    ]
    gateway = edge_of(lambda documents: documents)
    objects = [
        *bookinfo(), *HARMLESS, *hooks, *(found_of(each["kind"], each) for each in (own, relabelled, *gateway)),
        document("VirtualService", "all", {"hosts": ["details"], "http": [
            {"match": [{"headers": {"x": {"exact": "1"}}}], "route": []}, {"match": [{"uri": {"prefix": "/"}}], "timeout": "5s"},
        ]}),
        document("Pod", "job-x", {"containers": BARE}, labels={"app": "job"}),
    ]  # fmt: skip
    checks = [red(each) for each in ("app.productpage", "istio.injection", "graph.edges", "istio.analyze")]
    found = {each.object for each in explain(checks, objects, namespace=NAMESPACE, root=ROOT)}
    assert found <= {
        "EnvoyFilter istio-system/metrics",
        "VirtualService shop/bookinfo",
        "Gateway shop/meshlab-edge",
        "VirtualService shop/meshlab-edge",
        "Service shop/tcp-echo",
        "Service istio-system/ingressgateway",
    }


def test_a_configuration_of_prometheus_that_is_none_is_told_or_passed_over() -> None:
    def told(text: str) -> list[str]:
        meta = {"name": "prometheus", "namespace": ROOT}
        found = found_of("ConfigMap", {"metadata": meta, "data": {"prometheus.yml": text}})
        checks = [red("prometheus.targets")]
        return [each.why for each in explain(checks, [found], namespace=NAMESPACE, root=ROOT)]

    assert ["no YAML" in why for why in told("{")] == [True]
    assert told("- 1") == told("global: {scrape_interval: soon}") == []
    assert ["1d" in why for why in told("global: {scrape_interval: 1d}")] == [True]


def test_no_secret_of_prometheus_s_configuration_is_taken() -> None:
    job = {
        "job_name": "a",
        "basic_auth": {"password": "hidden"},
        "kubernetes_sd_configs": [{"role": "pod", "bearer_token": "hidden"}],
    }
    settings = {"remote_write": [{"url": "https://user:hidden@example"}], "scrape_configs": [job]}
    data = {"prometheus.yml": yaml.safe_dump(settings), "other": "hidden"}
    found = found_of("ConfigMap", {"metadata": {"name": "prometheus"}, "data": data})
    assert found.spec["scrape_configs"] == [{"job_name": "a", "kubernetes_sd_configs": [{"role": "pod"}]}]
    assert "hidden" not in str(found.spec)


def test_config_maps_and_webhooks_of_others_are_not_read() -> None:
    kube = FakeKube()
    for each in KINDS:
        kube.kinds[each] = True
    meta = {"name": "settings", "namespace": NAMESPACE}
    kube.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"password": "hidden"}})
    hooks = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    kube.put({**hooks, "metadata": {"name": "other"}, "webhooks": [{"name": "pods.example.com"}]})
    kube.put({**hooks, "metadata": {"name": "istio"}, "webhooks": [HOOK, {"name": "pods.example.com"}]})
    assert [str(each) for each in read(kube)] == ["MutatingWebhookConfiguration istio"]


def test_who_selects_the_gateway_of_the_hosts_that_were_asked_explains_its_tokens_best() -> None:
    """As the lab has it: the gateway's pods are called otherwise than its selector, and the evidence names hosts."""
    labels = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    pod = found_of(
        "Pod", {"metadata": {"namespace": ROOT, "name": "gateway-x-y", "labels": labels}, "spec": {}}
    )
    made = [found_of(each["kind"], each) for each in edge_of(edge.issuer_changed)]
    check = {
        **red("ingress.jwt"),
        "evidence": {"requests": [{"url": "https://token.meshlab.test/productpage"}]},
    }
    found = explain([check], [*bookinfo(), pod, *made], namespace=NAMESPACE, root=ROOT)
    assert found[0].object == f"RequestAuthentication {ROOT}/meshlab-edge"
