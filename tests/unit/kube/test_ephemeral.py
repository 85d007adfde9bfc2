"""An ephemeral container is awaited, and a refusal or a missing image ends the wait with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from meshlab.core.errors import KubeError, WaitTimeout
from meshlab.kube.ephemeral import attach, security_context
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod

CONTAINER = {"name": "capture", "image": "x"}


class Core:
    """The one call of CoreV1Api: the container gets `state`, or the API refuses."""

    def __init__(self, kube: FakeKube, state: Mapping[str, Any] | None, refused: int = 0) -> None:
        self.kube, self.state, self.refused, self.bodies = kube, state, refused, []

    def patch_namespaced_pod_ephemeralcontainers(self, name: str, namespace: str, body: Any) -> None:
        self.bodies.append(body)
        if self.refused:
            raise ApiException(status=self.refused, reason="Forbidden")
        if self.state is not None:
            status = {"name": "capture", "state": dict(self.state)}
            self.kube.store["v1", "Pod", namespace, name]["status"]["ephemeralContainerStatuses"] = [status]


def cluster(state: Mapping[str, Any] | None, refused: int = 0) -> FakeKube:
    kube = FakeKube([make_pod("details-1")])
    kube.core = Core(kube, state, refused)  # type: ignore[attr-defined]
    return kube


def test_it_returns_when_the_container_runs() -> None:
    kube = cluster({"running": {}})
    attach(kube, "default", "details-1", CONTAINER, timeout=5, clock=FakeClock())
    assert kube.core.bodies == [{"spec": {"ephemeralContainers": [CONTAINER]}}]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, "can't be had: no such image"),
        ({"terminated": {"exitCode": 127, "message": "no python3"}}, "ended with 127: no python3"),
    ],
)
def test_what_can_not_heal_ends_the_wait(state: Mapping[str, Any], why: str) -> None:
    with pytest.raises(KubeError, match=why):
        attach(cluster(state), "default", "details-1", CONTAINER, timeout=5, clock=FakeClock())


def test_a_cluster_that_forbids_it_says_403() -> None:
    with pytest.raises(KubeError) as caught:
        attach(cluster(None, refused=403), "default", "details-1", CONTAINER, timeout=5, clock=FakeClock())
    assert caught.value.status == 403


def test_one_that_never_starts_is_told() -> None:
    for state in (None, {"waiting": {"reason": "ContainerCreating"}}):
        with pytest.raises(WaitTimeout, match=r"no state yet|ContainerCreating"):
            attach(cluster(state), "default", "details-1", CONTAINER, timeout=2, clock=FakeClock())


def test_all_capabilities_but_the_named_are_dropped() -> None:
    found = security_context(["NET_RAW"])
    assert (found["runAsUser"], found["capabilities"]) == (0, {"drop": ["ALL"], "add": ["NET_RAW"]})
    assert found["allowPrivilegeEscalation"] is False


def test_a_container_without_rights_is_as_the_strictest_standard_demands() -> None:
    found = security_context([])
    assert found["runAsNonRoot"] is True and found["runAsUser"] > 0
    assert found["capabilities"] == {"drop": ["ALL"]} and found["allowPrivilegeEscalation"] is False
    assert found["seccompProfile"] == {"type": "RuntimeDefault"}
