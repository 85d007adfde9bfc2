"""The words must be kubectl's: cases follow its printPod."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from meshlab.kube.pods import condition, summarise
from tests.fakes.kube import make_pod

NOT_READY = [{"type": "Ready", "status": "False"}]


def test_running_pod_counts_its_native_sidecar() -> None:
    pod = summarise(make_pod("a", labels={"app": "a"}))
    assert (pod.ready, pod.status, pod.restarts, pod.is_ready) == ("2/2", "Running", 1, True)
    assert pod.containers == ("app", "istio-proxy")
    assert pod.images == {"app": "app:1", "istio-init": "proxy:1", "istio-proxy": "proxy:1"}
    assert pod.started == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (pod.labels, pod.service_account, pod.node, pod.ip) == ({"app": "a"}, "sa", "node-1", "10.0.0.1")


def _container(**status: Any) -> list[dict[str, Any]]:
    return [{"name": "app", "restartCount": 4, "ready": False, **status}]


@pytest.mark.parametrize(
    ("status", "ready", "word", "restarts"),
    [
        (
            {"containerStatuses": _container(state={"waiting": {"reason": "CrashLoopBackOff"}})},
            "1/2",
            "CrashLoopBackOff",
            5,
        ),
        (
            {"containerStatuses": _container(state={"terminated": {"reason": "Error", "exitCode": 1}})},
            "1/2",
            "Error",
            5,
        ),
        ({"containerStatuses": _container(state={"terminated": {"exitCode": 2}})}, "1/2", "ExitCode:2", 5),
        (
            {"containerStatuses": _container(state={"terminated": {"exitCode": 2, "signal": 9}})},
            "1/2",
            "Signal:9",
            5,
        ),
        ({"phase": "Failed", "reason": "Evicted", "containerStatuses": []}, "1/2", "Evicted", 1),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [],
                "containerStatuses": [],
                "conditions": NOT_READY,
            },
            "0/2",
            "Pending",
            0,
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "initContainerStatuses": [
                    {"name": "istio-init", "state": {"running": {}}, "restartCount": 0}
                ],
                "containerStatuses": _container(
                    state={"waiting": {"reason": "PodInitializing"}}, restartCount=0
                ),
            },
            "0/2",
            "Init:0/2",
            0,
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "initContainerStatuses": [
                    {
                        "name": "istio-init",
                        "state": {"waiting": {"reason": "ImagePullBackOff"}},
                        "restartCount": 0,
                    }
                ],
                "containerStatuses": [],
            },
            "0/2",
            "Init:ImagePullBackOff",
            0,
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "initContainerStatuses": [
                    {
                        "name": "istio-init",
                        "state": {"terminated": {"reason": "Error", "exitCode": 1}},
                        "restartCount": 3,
                    }
                ],
                "containerStatuses": [],
            },
            "0/2",
            "Init:Error",
            3,
        ),
    ],
)
def test_words_of_kubectl(status: dict[str, Any], ready: str, word: str, restarts: int) -> None:
    pod = summarise(make_pod("a", **status))
    assert (pod.ready, pod.status, pod.restarts) == (ready, word, restarts)


def test_deleted_pod_is_terminating() -> None:
    raw = make_pod("a")
    raw["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    pod = summarise(raw)
    assert pod.status == "Terminating"
    assert pod.deleting


def test_pod_that_the_api_has_just_stored() -> None:
    pod = summarise({"metadata": {"name": "a", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]}})
    assert (pod.ready, pod.status, pod.started, pod.node, pod.is_ready) == ("0/1", "Unknown", None, "", False)


def test_condition_that_is_not_there_is_empty() -> None:
    assert condition({"status": {"conditions": None}}, "Ready") == {}
