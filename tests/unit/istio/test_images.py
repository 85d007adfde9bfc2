"""Our images stand for upstream's, and nothing else of a manifest changes."""

from __future__ import annotations

import copy

import pytest

from meshlab.core.errors import IstioError
from meshlab.istio.images import hub_and_tag, in_cluster, replace
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh

HUB = "localhost/meshlab"


def deployment(*images: str) -> dict:
    containers = [
        {"name": f"c{n}", "image": image, "resources": {"limits": {"cpu": 1}}}
        for n, image in enumerate(images)
    ]
    return {
        "kind": "Deployment",
        "metadata": {"name": "app"},
        "spec": {"replicas": 2, "template": {"spec": {"affinity": {"a": 1}, "containers": containers}}},
    }


def test_only_images_change():
    document = deployment(
        "registry.example/release/examples-bookinfo-reviews-v2:1.20.3", "registry.example/prom/prometheus:v3"
    )
    before = copy.deepcopy(document)
    [found] = replace([document], [f"{HUB}/prometheus:b", f"{HUB}/examples-bookinfo-reviews-v2:a"])
    assert document == before
    for container, image in zip(
        found["spec"]["template"]["spec"]["containers"],
        ("examples-bookinfo-reviews-v2:a", "prometheus:b"),
        strict=True,
    ):
        assert container["image"] == f"{HUB}/{image}"
        container["image"] = next(
            c["image"]
            for c in before["spec"]["template"]["spec"]["containers"]
            if c["name"] == container["name"]
        )
    assert found == before


def test_an_image_without_a_replacement_is_named():
    with pytest.raises(IstioError, match=r"example/other:1 \(Deployment app\)"):
        replace([deployment("example/other:1")], [f"{HUB}/prometheus:b"])


def test_objects_without_pods_pass():
    service = {"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": []}}
    assert replace([service, {"kind": "Empty", "metadata": {"name": "e"}}], [])[0] == service


def test_pilot_and_proxy_must_share_a_tag():
    assert hub_and_tag([f"{HUB}/pilot:1", f"{HUB}/proxyv2:1", f"{HUB}/pilot:2"]) == (HUB, "1")
    with pytest.raises(IstioError):
        hub_and_tag([f"{HUB}/pilot:1", f"{HUB}/proxyv2:2"])
    with pytest.raises(IstioError):
        hub_and_tag(["elsewhere/pilot:1", "elsewhere/proxyv2:1"])


def test_images_that_run_come_before_images_that_lie_on_a_node():
    pod = make_pod("p")
    pod["spec"]["containers"][0]["image"] = f"{HUB}/curl:new"
    held = [{"names": [f"{HUB}/curl:old", "example/other:1"]}, {"names": [f"{HUB}/pilot:1"]}, {}]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {"images": held}}
    assert in_cluster(FakeMesh([pod, node])) == (f"{HUB}/curl:new", f"{HUB}/curl:old", f"{HUB}/pilot:1")
