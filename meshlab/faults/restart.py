"""Pods that are made again, so that they meet what was changed before."""

from __future__ import annotations

from meshlab.core.waiting import Clock, wait
from meshlab.istio.sidecars import ask_to_go
from meshlab.kube.apply import delete
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

TIMEOUT = 90.0  # seconds until the new pods are Ready


def restart(kube: Kube, namespace: str, selector: str, *, clock: Clock | None = None) -> list[PodSummary]:
    """Delete pods, and wait until their controller has made new ones that are Ready.

    Args:
        kube: Client of the cluster.
        namespace: Where they are.
        selector: Their labels.
        clock: Of the wait; the real one where not given.

    Returns:
        The new pods.

    Raises:
        KubeError: The API server refuses it.
        WaitTimeout: An old pod stays, or a new one does not get Ready.
    """
    old = [pod for pod in kube.pods(namespace, selector) if not pod.deleting]
    delete(kube, [ask_to_go(kube, pod) for pod in old], timeout=TIMEOUT, clock=clock)
    gone = {pod.uid for pod in old}

    def new() -> list[PodSummary]:
        return [pod for pod in kube.pods(namespace, selector) if pod.uid not in gone and not pod.deleting]

    return wait(
        f"new pods of {selector} in {namespace}",
        new,
        ready=lambda found: len(found) >= len(old) and all(pod.is_ready for pod in found),
        describe=lambda found: ", ".join(f"{pod.name} is {pod.status}" for pod in found) or "no pod",
        timeout=TIMEOUT,
        clock=clock,
    )
