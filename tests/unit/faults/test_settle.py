"""The lab has come to rest when roll-outs are done, stopped workloads have no pod, and the proxies have acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.core.errors import WaitTimeout
from meshlab.faults import settle
from meshlab.faults.settle import proxies_of, start_anew, wait_settled
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from tests.fakes.clock import FakeClock
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh

MESH = Mesh("default")
ISTIOCTL = Istioctl(Path("istioctl"))


class Waited:
    """Stands in for the waits that have tests of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rolled_out: list[tuple[str, list[str]]] = []
        self.acknowledged: list[list[str]] = []
        self.drained: list[list[str]] = []
        monkeypatch.setattr(settle, "wait_deployments", self.roll_out)
        monkeypatch.setattr(settle, "wait_acknowledged", self.acknowledge)
        monkeypatch.setattr(settle, "wait_drained", self.drain)

    def roll_out(self, kube: object, namespace: str, names: list[str], **_: object) -> None:
        self.rolled_out.append((namespace, names))

    def acknowledge(self, kube: object, istioctl: object, pods: list, **_: object) -> None:
        self.acknowledged.append([pod.name for pod in pods])

    def drain(self, kube: object, pods: list, **_: object) -> None:
        self.drained.append([pod.name for pod in pods])


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> Waited:
    return Waited(monkeypatch)


def deployment(name: str, namespace: str, replicas: int = 1) -> dict:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def lab(*, istiod: int = 1) -> FakeMesh:
    kube = FakeMesh([make_pod(f"{app}-1", labels={"app": app}) for app in ("details", "sleep")])
    kube.put(deployment("details", "default"))
    kube.put(deployment("istiod", "istio-system", istiod))
    if istiod:
        kube.put(make_pod("istiod-1", namespace="istio-system", labels={"app": "istiod"}))
    return kube


def test_roll_outs_then_acknowledgement_then_no_old_listener(waited: Waited) -> None:
    wait_settled(lab(), ISTIOCTL, MESH, clock=FakeClock())
    assert waited.rolled_out == [("istio-system", ["istiod"]), ("default", ["details"])]
    [pods] = waited.acknowledged
    assert {"details-1", "sleep-1"} <= set(pods)
    assert waited.drained == waited.acknowledged


def test_a_proxy_that_rejects_is_not_waited_for(waited: Waited) -> None:
    kube = lab()
    wait_settled(kube, ISTIOCTL, MESH, rejecting=["app=details"], clock=FakeClock())
    assert "details-1" not in waited.acknowledged[0] and "sleep-1" in waited.acknowledged[0]
    assert "details-1" in [pod.name for pod in proxies_of(kube, MESH)]


def test_without_an_istiod_nothing_is_acknowledged(waited: Waited) -> None:
    wait_settled(lab(istiod=0), ISTIOCTL, MESH, clock=FakeClock())
    assert waited.acknowledged == []
    assert ("istio-system", ["istiod"]) not in waited.rolled_out


def test_a_stopped_workload_must_have_no_pod_left(waited: Waited) -> None:
    kube = lab(istiod=0)
    kube.put(make_pod("istiod-1", namespace="istio-system", labels={"app": "istiod"}))
    with pytest.raises(WaitTimeout, match="istiod-1"):
        wait_settled(kube, ISTIOCTL, MESH, clock=FakeClock())


def test_the_applications_pods_are_replaced_and_nobody_elses(waited: Waited) -> None:
    kube = lab()
    kube.put(make_pod("details-v1-1", labels={"app": "details", "version": "v1"}))
    kube.put(make_pod("bank-1", labels={"app": "bank"}))
    start_anew(kube, ISTIOCTL, MESH, clock=FakeClock())
    left = {name for name in ("sleep-1", "details-v1-1", "bank-1") if kube.get("v1", "Pod", name, "default")}
    assert left == {"bank-1"}
    assert waited.acknowledged, "and the lab has come to rest"
