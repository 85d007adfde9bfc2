from __future__ import annotations

from typing import Any

import pytest

from meshlab.kube.causes import AT_ONCE, LATE, SOON, Diagnosis, diagnose_owner, diagnose_pod
from tests.fakes.kube import make_pod

UNREADY = [{"type": "Ready", "status": "False"}]


def _log(container: str, previous: bool) -> str:
    return f"{container} {'before' if previous else 'now'}\nTraceback\nKeyError: 'PORT'\n"


def _event(name: str, reason: str, message: str, *, field: str = "", at: int = 0) -> dict[str, Any]:
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-01-01T00:00:{at:02}Z",
        "involvedObject": {"uid": f"uid-{name}", "fieldPath": field},
    }


def _waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "conditions": UNREADY,
        "containerStatuses": [{"name": "app", "state": state, "ready": False, **more}],
    }


def _diagnose(status: dict[str, Any], *events: dict[str, Any]) -> Diagnosis:
    found = diagnose_pod(make_pod("a", **status), events, _log)
    assert found is not None
    assert found.resolution
    return found


def test_ready_and_completed_pods_have_no_cause() -> None:
    assert diagnose_pod(make_pod("a"), [], _log) is None
    assert diagnose_pod(make_pod("a", conditions=UNREADY, phase="Succeeded"), [], _log) is None


def test_pod_of_which_nothing_is_known_yet() -> None:
    assert diagnose_pod(make_pod("a", conditions=[], containerStatuses=[]), [], _log) is None


@pytest.mark.parametrize(
    ("reason", "message", "patience"),
    [
        ("InvalidImageName", "couldn't parse image", AT_ONCE),
        ("ErrImagePull", "manifest unknown", SOON),
        ("ImagePullBackOff", "pull access denied", SOON),
        ("ErrImagePull", "dial tcp: i/o timeout", LATE),
    ],
)
def test_image(reason: str, message: str, patience: float) -> None:
    found = _diagnose(_waiting(reason, message, image="shop/app:2"))
    assert (found.category, found.patience) == ("ImagePull", patience)
    assert "shop/app:2" in found.summary
    assert message in found.detail


def test_unschedulable_names_the_resource() -> None:
    message = "0/3 nodes are available: 1 Insufficient memory, 3 Insufficient cpu. preemption: not helpful"
    status = {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}
    found = _diagnose(status)
    assert found.category == "Unschedulable"
    assert "cpu, memory" in found.summary
    assert found.patience == LATE
    assert _diagnose(status, _event("a", "TriggeredScaleUp", "1->2")).patience is None


def test_unschedulable_by_taint_or_selector() -> None:
    def scheduled(message: str) -> dict[str, Any]:
        return {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}

    taint = "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."
    assert "node.kubernetes.io/not-ready" in _diagnose(scheduled(taint)).summary
    assert "selector" in _diagnose(scheduled("0/1 nodes: 1 node(s) didn't match node selector")).resolution


def test_crash_shows_the_end_of_the_log_before_the_restart() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    found = _diagnose(_waiting("CrashLoopBackOff", restartCount=2, lastState=ended))
    assert (found.category, found.patience) == ("CrashLoop", None)
    assert "exit code 1" in found.summary
    assert "app before" in found.detail
    assert "KeyError: 'PORT'" in found.detail
    assert _diagnose(_waiting("CrashLoopBackOff", restartCount=3, lastState=ended)).patience == LATE


def test_crash_for_memory() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert "memory" in _diagnose(_waiting("CrashLoopBackOff", restartCount=1, lastState=ended)).summary


def test_program_that_is_not_there() -> None:
    found = _diagnose(_waiting("RunContainerError", "exec: foo: not found"))
    assert (found.category, found.detail) == ("StartFailed", "exec: foo: not found")
    ended = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec: foo"}}
    assert _diagnose(_waiting("CrashLoopBackOff", lastState=ended)).category == "StartFailed"


def test_missing_config() -> None:
    found = _diagnose(_waiting("CreateContainerConfigError", 'secret "db" not found'))
    assert (found.category, found.detail) == ("MissingConfig", 'secret "db" not found')


def test_events_of_a_pod_without_containers() -> None:
    creating = _waiting("ContainerCreating")
    mount = _event("a", "FailedMount", 'MountVolume.SetUp failed: configmap "page" not found')
    assert _diagnose(creating, mount).summary == "configmap page is missing"
    assert _diagnose(creating, _event("a", "FailedMount", "timed out")).category == "Volume"
    sandbox = _event("a", "FailedCreatePodSandBox", "plugin type=bridge failed (add)")
    assert _diagnose(creating, sandbox).category == "Sandbox"


def test_events_of_others_and_healed_ones_are_left_out() -> None:
    pod = make_pod("a", **_waiting("ContainerCreating"))
    assert diagnose_pod(pod, [_event("b", "FailedMount", "timed out")], _log) is None
    healed = [_event("a", "Created", "", at=2), _event("a", "FailedMount", "timed out", at=1)]
    assert diagnose_pod(pod, healed, _log) is None


def test_failed_probe() -> None:
    status = {
        "conditions": UNREADY,
        "containerStatuses": [{"name": "app", "state": {"running": {}}, "ready": False}],
    }
    event = _event("a", "Unhealthy", "Readiness probe failed: HTTP 503", field="spec.containers{app}")
    found = _diagnose(status, event)
    assert (found.category, found.patience) == ("ProbeFailed", None)
    assert "readiness probe" in found.summary


@pytest.mark.parametrize("crashed", [False, True])
def test_a_limit_of_the_node_stands_in_the_containers_log(crashed: bool) -> None:
    """What a proxy writes where the node has no inotify instance left: it may be restarted, or run and fail its probe."""
    state = {"terminated": {"exitCode": 134}} if crashed else {"running": {}}
    container = {"name": "app", "state": state, "restartCount": 1, "ready": False}
    pod = make_pod("a", conditions=UNREADY, containerStatuses=[container])
    event = _event("a", "Unhealthy", "Startup probe failed: HTTP 503", field="spec.containers{app}")
    line = "critical envoy assert: assert failure: inotify_fd_ >= 0. Details: Consider increasing the limit"
    found = diagnose_pod(pod, [event], lambda *_: f"info starting\n{line}\ninfo retry")
    assert found is not None and (found.category, found.patience) == ("NodeLimit", 30.0)
    assert line in found.detail


def test_what_went_wrong_in_the_log_is_told_with_a_failed_probe() -> None:
    container = {"name": "app", "state": {"running": {}}, "ready": False}
    pod = make_pod("a", conditions=UNREADY, containerStatuses=[container])
    event = _event("a", "Unhealthy", "Readiness probe failed: HTTP 503", field="spec.containers{app}")
    found = diagnose_pod(pod, [event], lambda *_: "info ready soon\nERROR no database\ninfo retry")
    assert found is not None and found.category == "ProbeFailed"
    assert "no database" in found.detail and "ready soon" not in found.detail


def test_eviction() -> None:
    found = _diagnose(
        {"conditions": UNREADY, "phase": "Failed", "reason": "Evicted", "message": "low on memory"}
    )
    assert (found.category, found.detail) == ("Evicted", "low on memory")


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("exceeded quota: q", "Quota"),
        ('Internal error: failed calling webhook "istio": connection refused', "Webhook"),
        ('admission webhook "x" denied the request', "Webhook"),
        ('violates PodSecurity "restricted:latest"', "PodSecurity"),
        ('error looking up service account n/s: serviceaccount "s" not found', "ServiceAccount"),
        ("something else", "CreateRefused"),
    ],
)
def test_owner_that_can_not_create_pods(message: str, category: str) -> None:
    failed = {"type": "ReplicaFailure", "status": "True", "message": message}
    replica_set = {
        "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "uid": "uid-web-1"},
        "status": {"conditions": [failed]},
    }
    found = diagnose_owner(replica_set, [])
    assert found is not None
    assert found.category == category
    stateful = {"kind": "StatefulSet", "metadata": {"name": "web-1", "uid": "uid-web-1"}}
    by_event = diagnose_owner(stateful, [_event("web-1", "FailedCreate", message)])
    assert by_event is not None
    assert by_event.category == category
    assert diagnose_owner(stateful, []) is None
