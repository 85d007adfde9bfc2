"""Ephemeral containers: a program beside those of a running pod. They can't be removed, only ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.core.errors import KubeError, MeshlabError
from meshlab.core.waiting import Clock, wait
from meshlab.kube.api_errors import api_errors
from meshlab.kube.client import Kube

NOBODY = 65534
CANT_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


def attach(
    kube: Kube,
    namespace: str,
    pod: str,
    container: Mapping[str, Any],
    *,
    timeout: float,
    clock: Clock | None = None,
) -> None:
    """Add an ephemeral container to a pod and wait until it runs.

    Args:
        kube: Client of the cluster.
        namespace: Of the pod.
        pod: Its name.
        container: Its spec, with a new name.
        timeout: Seconds.
        clock: Of the wait; the real one where not given.

    Raises:
        KubeError: The cluster forbids it (status 403), or its image can't be had.
        WaitTimeout: It does not run in time.
    """
    body = {"spec": {"ephemeralContainers": [dict(container)]}}
    with api_errors(f"add an ephemeral container to {namespace}/{pod}"):
        kube.core.patch_namespaced_pod_ephemeralcontainers(pod, namespace, body)

    def state() -> Mapping[str, Any]:
        found = kube.get("v1", "Pod", pod, namespace) or {}
        for each in found.get("status", {}).get("ephemeralContainerStatuses") or []:
            if each["name"] == container["name"]:
                return each.get("state") or {}
        return {}

    wait(
        f"the ephemeral container {container['name']} of {namespace}/{pod}",
        state,
        ready=lambda found: "running" in found,
        error=lambda found: _hopeless(f"{namespace}/{pod}", found),
        describe=lambda found: next(
            (f"{word} {detail.get('reason', '')}".strip() for word, detail in found.items()), "no state yet"
        ),
        timeout=timeout,
        delay=0.2,
        remedy="look at the pod's events; the image must be there for its node",
        clock=clock,
    )


def security_context(capabilities: Sequence[str]) -> dict[str, Any]:
    """Root without any right but the given capabilities; without any, what the strictest Pod Security Standard takes."""
    if not capabilities:
        return {
            "runAsUser": NOBODY,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    return {
        "runAsUser": 0,
        "runAsNonRoot": False,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": list(capabilities)},
    }


def _hopeless(where: str, state: Mapping[str, Any]) -> MeshlabError | None:
    ended = state.get("terminated")
    if ended is not None:
        return KubeError(
            f"the ephemeral container of {where} ended with {ended.get('exitCode')}: {ended.get('message', '')}",
            remedy="its log tells why",
        )
    waiting = state.get("waiting", {})
    if waiting.get("reason") in CANT_PULL:
        return KubeError(
            f"the image of the ephemeral container of {where} can't be had: {waiting.get('message', '')}",
            remedy="name another with --set security.capture_image=IMAGE; it must hold Python 3",
        )
    return None
