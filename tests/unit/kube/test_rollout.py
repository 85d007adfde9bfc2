from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshlab.core.errors import KubeError, RolloutError, WaitTimeout
from meshlab.core.progress import Update
from meshlab.kube.rollout import nodes, nodes_ready, wait_deployments
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod


def _deployment(name: str, *, available: int = 1, generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}},
        "status": {
            "observedGeneration": generation,
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": available,
            **status,
        },
    }


def _broken_pod(app: str, reason: str, message: str = "") -> Any:
    state = {"waiting": {"reason": reason, "message": message}}
    return make_pod(
        f"{app}-1",
        labels={"app": app},
        conditions=[{"type": "Ready", "status": "False"}],
        containerStatuses=[{"name": "app", "state": state, "ready": False, "restartCount": 0}],
    )


def _wait(kube: FakeKube, names: list[str] | None, *, clock: FakeClock | None = None, **options: Any) -> Any:
    options.setdefault("timeout", 300)
    return wait_deployments(kube, "default", names, clock=clock or FakeClock(), **options)  # type: ignore[arg-type]


def _at(seconds: float, act: Callable[[], None]) -> FakeClock:
    """A clock that does something once it has reached a time."""
    done: list[float] = []

    def on_sleep(now: float) -> None:
        if now >= seconds and not done:
            done.append(now)
            act()

    return FakeClock(on_sleep=on_sleep)


def test_all_ready_at_once_without_asking_for_causes() -> None:
    assert _wait(FakeKube([_deployment("b"), _deployment("a")]), None) == ("a", "b")


def test_becomes_ready_while_waiting_and_tells_progress() -> None:
    kube = FakeKube([_deployment("a"), _deployment("b", available=0)])
    updates: list[Update] = []
    clock = _at(7, lambda: kube.put(_deployment("b")))
    assert _wait(kube, ["a", "b"], clock=clock, progress=updates.append) == ("a", "b")
    assert (updates[0].done, updates[0].total, updates[0].detail) == (1, 2, "b")
    assert updates[-1].done == 2
    assert 7 <= clock.time < 8


@pytest.mark.parametrize(
    ("deployment", "lacks"),
    [
        (_deployment("a", generation=0), "change is not seen yet"),
        (_deployment("a", updatedReplicas=0), "0 of 1 pods updated"),
        (_deployment("a", replicas=2), "1 old pods still there"),
        (_deployment("a", available=0), "0 of 1 pods available"),
    ],
)
def test_what_it_waits_for(deployment: dict[str, Any], lacks: str) -> None:
    with pytest.raises(WaitTimeout, match=lacks):
        _wait(FakeKube([deployment]), ["a"], timeout=5)


def test_deployment_that_never_comes() -> None:
    with pytest.raises(WaitTimeout, match="a: does not exist yet"):
        _wait(FakeKube(), ["a"], timeout=5)
    with pytest.raises(WaitTimeout, match="0 of 0 ready"):
        _wait(FakeKube(), None, timeout=5)


def test_cause_that_does_not_heal_ends_the_wait_early() -> None:
    kube = FakeKube([_deployment("a", available=0), _broken_pod("a", "ImagePullBackOff", "manifest unknown")])
    clock = FakeClock()
    with pytest.raises(RolloutError, match="pod default/a-1 does not start: ImagePull") as caught:
        _wait(kube, ["a"], clock=clock)
    assert "correct the image's name" in caught.value.remedy
    assert 30 <= clock.time < 40


def test_cause_of_another_workload_does_not() -> None:
    kube = FakeKube([_deployment("a", available=0), _broken_pod("other", "InvalidImageName")])
    with pytest.raises(WaitTimeout, match="no pod of default is in trouble"):
        _wait(kube, ["a"], timeout=60)


def test_cause_that_heals_is_forgiven() -> None:
    kube = FakeKube([_deployment("a", available=0), _broken_pod("a", "ImagePullBackOff", "manifest unknown")])

    def heal() -> None:
        kube.put(make_pod("a-1", labels={"app": "a"}))
        kube.put(_deployment("a"))

    assert _wait(kube, ["a"], clock=_at(20, heal)) == ("a",)


def test_deadline_names_a_cause_that_might_have_healed() -> None:
    pod = _broken_pod("a", "CrashLoopBackOff")
    pod["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 9}}
    with pytest.raises(WaitTimeout, match="exit code 9"):
        _wait(FakeKube([_deployment("a", available=0), pod]), ["a"], timeout=30)


def test_pod_that_crashes_again_and_again_is_not_ready_in_between() -> None:
    kube = FakeKube([_deployment("a")])

    def restart(count: int) -> None:
        status = {"name": "app", "state": {"running": {}}, "ready": True, "restartCount": count}
        kube.put(make_pod("a-1", labels={"app": "a"}, containerStatuses=[status]))

    restart(1)
    clock = FakeClock(on_sleep=lambda now: restart(1 + int(now / 8)))
    with pytest.raises(WaitTimeout, match=r"has restarted .* must stay up"):
        _wait(kube, ["a"], clock=clock, timeout=60)
    clock = FakeClock(on_sleep=lambda now: restart(2))
    assert _wait(kube, ["a"], clock=clock, timeout=60) == ("a",)
    assert 10 <= clock.time < 12


def test_restarts_of_long_ago_cost_no_time() -> None:
    state = {"running": {"startedAt": "2020-01-01T00:00:00Z"}}
    status = {"name": "app", "state": state, "ready": True, "restartCount": 7}
    kube = FakeKube([_deployment("a"), make_pod("a-1", labels={"app": "a"}, containerStatuses=[status])])
    clock = FakeClock()
    _wait(kube, ["a"], clock=clock)
    assert clock.time < 1


def test_refusal_passes_through() -> None:
    class Refusing(FakeKube):
        def objects(self, *args: Any, **options: Any) -> Any:
            raise KubeError("forbidden", status=403)

    with pytest.raises(KubeError, match="forbidden"):
        _wait(Refusing(), None)


def _node(name: str, ready: str, message: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": message}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.1",
                "containerRuntimeVersion": "containerd://1.6",
                "osImage": "Debian",
            },
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        },
    }


def test_nodes() -> None:
    kube = FakeKube([_node("n2", "True"), _node("n1", "False", "cni plugin not initialized")])
    assert [node.name for node in nodes(kube)] == ["n1", "n2"]  # type: ignore[arg-type]
    with pytest.raises(WaitTimeout, match="n1: cni plugin not initialized"):
        nodes_ready(kube, 2, timeout=3, clock=FakeClock())  # type: ignore[arg-type]
    clock = _at(2, lambda: kube.put(_node("n1", "True")))
    found = nodes_ready(kube, 2, timeout=10, clock=clock)  # type: ignore[arg-type]
    assert [(node.ready, node.kubelet, node.ip) for node in found] == [(True, "v1.36.1", "10.0.0.1")] * 2
    with pytest.raises(WaitTimeout, match="2 of 3 nodes"):
        nodes_ready(kube, 3, timeout=3, clock=FakeClock())  # type: ignore[arg-type]
