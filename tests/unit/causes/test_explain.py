"""A red check is explained by the object that does what the check saw: the planted one stands first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab import manifests
from meshlab.causes.explain import Cause, explain
from meshlab.causes.kinds import READERS
from meshlab.causes.objects import KINDS, Found, found_of
from meshlab.faults.faults import FAULTS

NAMESPACE, ROOT = "shop", "istio-system"
WORKLOADS = ("productpage", "details", "reviews", "ratings", "sleep")

NEWER = {"managedFields": [{"manager": "kubectl", "time": "2026-11-28T09:00:00Z"}]}


def document(kind: str, name: str, spec: Mapping[str, Any], **meta: Any) -> Found:
    return found_of(kind, {"metadata": {"namespace": NAMESPACE, "name": name, **meta}, "spec": spec})


def bookinfo() -> list[Found]:
    """Bookinfo as Istio ships it, and what the lab's own mesh has beside it."""
    found = []
    for name in WORKLOADS:
        labels = {"app": name, "version": "v1"}
        port = {"port": 9080, "name": "http"}
        template = {"metadata": {"labels": labels}}
        found += [
            document("Service", name, {"selector": {"app": name}, "ports": [port], "clusterIP": "10.0.0.9"}),
            document("Deployment", f"{name}-v1", {"replicas": 1, "template": template}),
            document("Pod", f"{name}-v1-x-y", {}, labels=labels),
        ]
    strict = {"mtls": {"mode": "STRICT"}}
    return [
        *found,
        document("PeerAuthentication", "default", strict, namespace=ROOT),
        document(
            "Telemetry", "mesh-default", {"tracing": [{"randomSamplingPercentage": 100}]}, namespace=ROOT
        ),
        document(
            "VirtualService",
            "bookinfo",
            {
                "hosts": ["*"],
                "gateways": ["edge"],
                "http": [{"route": [{"destination": {"host": "productpage"}}]}],
            },
            **NEWER,
        ),
        document("Service", "tcp-echo", {"ports": [{"port": 9000, "name": "tcp"}]}, **NEWER),
        document("Service", "ingressgateway", {"ports": [{"port": 31400, "name": "tcp"}]}, namespace=ROOT),
        document("EnvoyFilter", "metrics", {"configPatches": [{"applyTo": "HTTP_FILTER"}]}, namespace=ROOT),
    ]


HARMLESS = (
    document("VirtualService", "plain", {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]}),
    document("DestinationRule", "plain", {"host": "details", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
    document("Telemetry", "logs", {"accessLogging": [{"providers": [{"name": "envoy"}]}]}),
)  # fmt: skip


def red(check_id: str, summary: str = "0 of 20 as expected", evidence: Any = None) -> dict[str, Any]:
    return {"id": check_id, "verdict": "fail", "summary": summary, "reason": None, "evidence": evidence or {}}


def planted() -> Iterable[tuple[str, Found, tuple[str, ...]]]:
    """Each configuration object that the catalogue plants, with the checks that must be red."""
    objects = manifests.read("faults", NAMESPACE=NAMESPACE)
    for fault in FAULTS:
        if fault.name in objects:
            each = objects[fault.name]
            yield fault.name, found_of(each["kind"], each), fault.must


# What these checks see names the workload, as their evidence does in a real run.
SEEN = {"istio.proxies-synced": {"rejected": [{"proxy": "details-v1-x-y.shop"}]}}


@pytest.mark.parametrize("among", [(), HARMLESS], ids=["alone", "with newer, harmless objects"])
@pytest.mark.parametrize(
    ("fault", "culprit", "must"), tuple(planted()), ids=lambda each: each if isinstance(each, str) else ""
)
def test_the_planted_object_is_named_first(
    fault: str, culprit: Found, must: tuple[str, ...], among: tuple[Found, ...]
) -> None:
    objects = [*bookinfo(), *among, culprit]
    found = explain(
        [red(each, evidence=SEEN.get(each)) for each in must], objects, namespace=NAMESPACE, root=ROOT
    )
    first = {each: next((c.object for c in found if c.check == each), None) for each in must}
    assert first == dict.fromkeys(must, str(culprit))
    assert all(cause.why for cause in found)


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
