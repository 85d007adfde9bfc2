"""STRICT goes where the run may write, over a policy that is there; the pair gets its images and its policies."""

from __future__ import annotations

from meshlab.config.settings import LabConfig
from meshlab.security.mtls.strict import PROBE, PROBE_CLIENT, probe_objects, strict_policy
from tests.fakes.kube import FakeKube

PEER = ("security.istio.io/v1", "PeerAuthentication")


def cluster(*policies: tuple[str, str, str, dict]) -> FakeKube:
    kube = FakeKube()
    kube.kinds[PEER] = True
    for name, namespace, created, spec in policies:
        meta = {"name": name, "namespace": namespace, "creationTimestamp": created}
        kube.put({"apiVersion": PEER[0], "kind": PEER[1], "metadata": meta, "spec": spec})
    return kube


ROOT = "istio-system"


def test_the_mesh_is_where_its_root_namespace_is() -> None:
    policy = strict_policy(cluster(), LabConfig(), "mesh-config")
    assert policy["metadata"] == {"name": "default", "namespace": "mesh-config"}


def test_the_mesh_where_it_may_be_changed_else_the_namespace() -> None:
    ours, theirs = LabConfig(), LabConfig(cluster="existing")
    assert strict_policy(cluster(), ours, ROOT)["metadata"] == {
        "name": "default",
        "namespace": "istio-system",
    }
    assert strict_policy(cluster(), theirs, ROOT)["metadata"] == {"name": "default", "namespace": "meshlab"}
    assert strict_policy(cluster(), theirs, ROOT)["spec"] == {"mtls": {"mode": "STRICT"}}


def test_the_policy_that_istiod_would_take_is_the_one_that_is_changed() -> None:
    kube = cluster(
        ("young", "istio-system", "2026-02-01T00:00:00Z", {"mtls": {"mode": "STRICT"}}),
        ("old", "istio-system", "2026-01-01T00:00:00Z", {}),
        (
            "oldest-of-some-pods",
            "istio-system",
            "2025-01-01T00:00:00Z",
            {"selector": {"matchLabels": {"a": "b"}}},
        ),
        ("elsewhere", "default", "2024-01-01T00:00:00Z", {}),
    )
    assert strict_policy(kube, LabConfig(), ROOT)["metadata"]["name"] == "old"


def test_policies_are_in_the_version_that_the_cluster_serves() -> None:
    """Istio 1.21 has no v1 of either kind."""
    older, rule = ("security.istio.io/v1beta1", PEER[1]), ("networking.istio.io/v1beta1", "DestinationRule")
    kube = FakeKube()
    kube.kinds |= {older: True, rule: True}
    meta = {"name": "old", "namespace": ROOT, "creationTimestamp": "2026-01-01T00:00:00Z"}
    kube.put({"apiVersion": older[0], "kind": older[1], "metadata": meta, "spec": {}})
    policy = strict_policy(kube, LabConfig(), ROOT)
    assert (policy["apiVersion"], policy["metadata"]["name"]) == (older[0], "old")
    _, policies = probe_objects("meshlab", server="details:1", client="curl:1", kube=kube)
    assert [(each["apiVersion"], each["kind"]) for each in policies] == [older, rule]
    assert strict_policy(cluster(), LabConfig(), ROOT)["apiVersion"] == PEER[0]


def test_the_pair_is_on_its_own_and_without_mutual_tls() -> None:
    pair, policies = probe_objects("meshlab", server="details:1", client="curl:1", kube=FakeKube())
    images = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in pair
        if each["kind"] == "Deployment"
    }
    assert images == {PROBE: "details:1", PROBE_CLIENT: "curl:1"}
    assert {each["metadata"]["namespace"] for each in [*pair, *policies]} == {"meshlab"}
    peer, rule = policies
    assert peer["spec"]["mtls"] == {"mode": "DISABLE"} and peer["spec"]["selector"]["matchLabels"] == {
        "app": PROBE
    }
    assert rule["spec"] == {"host": PROBE, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    client = next(each for each in pair if each["metadata"]["name"] == PROBE_CLIENT)
    [term] = client["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == {"app": PROBE}
