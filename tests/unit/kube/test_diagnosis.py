from __future__ import annotations

from typing import Any

from meshlab.core.errors import KubeError
from meshlab.kube.diagnosis import explain, find_causes
from tests.fakes.kube import FakeKube, make_pod

UNREADY = [{"type": "Ready", "status": "False"}]


def _broken(name: str, app: str, reason: str = "ImagePullBackOff") -> Any:
    state = {"waiting": {"reason": reason, "message": "manifest unknown"}}
    status = {"name": "app", "image": "shop/app:2", "state": state, "ready": False, "restartCount": 0}
    return make_pod(name, labels={"app": app}, conditions=UNREADY, containerStatuses=[status])


def _workload(app: str) -> dict[str, Any]:
    return {"spec": {"selector": {"matchLabels": {"app": app}}}}


def test_only_what_was_asked_for() -> None:
    kube = FakeKube([_broken("a-1", "a"), _broken("b-1", "b"), make_pod("c-1", labels={"app": "c"})])
    assert [c.subject for c in find_causes(kube, "default")] == ["pod default/a-1", "pod default/b-1"]  # type: ignore[arg-type]
    assert [c.subject for c in find_causes(kube, "default", of=[_workload("a")])] == ["pod default/a-1"]  # type: ignore[arg-type]


def test_pods_that_are_being_deleted_are_no_cause() -> None:
    pod = _broken("a-1", "a")
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert find_causes(FakeKube([pod]), "default") == []  # type: ignore[arg-type]


def test_replica_set_without_pods() -> None:
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "namespace": "default", "uid": "u", "labels": {"app": "web"}},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": "web"}}}},
        "status": {
            "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}]
        },
    }
    kube = FakeKube([replica_set])
    assert "Quota" in explain(kube, "default", of=[_workload("web")])  # type: ignore[arg-type]
    replica_set["spec"]["replicas"] = 0  # type: ignore[index]
    assert find_causes(FakeKube([replica_set]), "default") == []  # type: ignore[arg-type]


def test_same_cause_is_told_once_with_what_to_do() -> None:
    kube = FakeKube([_broken(f"a-{n}", "a") for n in range(3)])
    text = explain(kube, "default")  # type: ignore[arg-type]
    assert text.startswith("pod default/a-0 and 2 more: ImagePull: image shop/app:2")
    assert "to do: correct the image's name" in text


def test_without_a_cause_the_pods_are_named() -> None:
    kube = FakeKube([make_pod("a-1", conditions=UNREADY, containerStatuses=[])])
    assert explain(kube, "default") == "pod a-1 is 1/2 Running"  # type: ignore[arg-type]
    assert explain(FakeKube(), "default") == "no pod of default is in trouble"  # type: ignore[arg-type]


def _crashed() -> FakeKube:
    ended: dict[str, Any] = {"name": "app", "ready": False, "restartCount": 1}
    ended["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    ended["lastState"] = {"terminated": {"exitCode": 3}}
    return FakeKube([make_pod("a", conditions=UNREADY, containerStatuses=[ended])])


def test_log_that_is_not_there_does_not_hide_the_cause() -> None:
    text = explain(_crashed(), "default")  # type: ignore[arg-type]
    assert "exit code 3" in text
    assert "its log is empty" in text


def test_log_of_a_removed_run_is_replaced_by_the_other_one() -> None:
    kube = _crashed()
    kube.logs["a", "app", True] = "unable to retrieve container logs for containerd://0123"
    kube.logs["a", "app", False] = "no PORT"
    assert "end of its log: no PORT" in explain(kube, "default")  # type: ignore[arg-type]


def test_refusal_becomes_part_of_the_text() -> None:
    class Refusing(FakeKube):
        def objects(self, *args: Any, **options: Any) -> Any:
            raise KubeError("can't list Event: 403", status=403)

    assert explain(Refusing(), "default") == "the cause can't be read: can't list Event: 403"  # type: ignore[arg-type]
