"""Pods that were born before their namespace asked for sidecars are restarted, and no others."""

from __future__ import annotations

from meshlab.istio.sidecars import ask_to_go, restart_unmeshed
from meshlab.kube.pods import summarise
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh, make_object


def bare(name: str, app: str) -> dict:
    pod = make_pod(name, labels={"app": app})
    del pod["spec"]["initContainers"]
    return pod


def mesh(**labels: str) -> FakeMesh:
    pods = [bare("old", "sleep"), make_pod("new", labels={"app": "sleep"}), bare("other", "other")]
    return FakeMesh([make_object("v1", "Namespace", "default", **labels), *pods])


def test_only_our_pods_without_a_sidecar_go():
    kube = mesh(istio_injection="enabled")
    assert restart_unmeshed(kube, "default", ["app=sleep"], timeout=5) == ("old",)
    assert {pod.name for pod in kube.pods("default")} == {"new", "other"}


def test_nothing_goes_where_the_namespace_does_not_ask():
    kube = mesh()
    assert restart_unmeshed(kube, "default", ["app=sleep"], timeout=5) == ()
    assert restart_unmeshed(kube, "nowhere", ["app=sleep"], timeout=5) == ()
    assert len(kube.pods("default")) == 3


def test_a_pod_that_is_gone_already_is_no_error():
    assert ask_to_go(FakeMesh(), summarise(make_pod("gone"))).name == "gone"
