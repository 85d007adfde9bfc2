"""Pods and their sidecars.

A pod gets its sidecar when it is created and keeps it until it ends, so changing that is a restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.core.errors import KubeError
from meshlab.istio.control_plane import SIDECAR
from meshlab.istio.injection import INJECTION_LABEL, REVISION_LABEL
from meshlab.kube.api_errors import api_errors
from meshlab.kube.apply import ObjectRef, delete
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

GRACE_SECONDS = 1  # nothing that is worth draining runs in these pods


def restart_unmeshed(
    kube: Kube, namespace: str, selectors: Sequence[str], *, timeout: float
) -> tuple[str, ...]:
    """Restart pods that are older than their namespace's wish for sidecars.

    Args:
        kube: Client of the cluster.
        namespace: Where the pods are.
        selectors: Label selectors of the pods that may be restarted.
        timeout: Seconds until the old ones are gone; their controllers make new ones.

    Returns:
        The names of the pods that were restarted.

    Raises:
        KubeError: The API server refuses it.
        WaitTimeout: An old pod does not go.
    """
    found = kube.get("v1", "Namespace", namespace) or {}
    labels = found.get("metadata", {}).get("labels") or {}
    if labels.get(INJECTION_LABEL) != "enabled" and not labels.get(REVISION_LABEL):
        return ()
    bare = [
        pod
        for selector in selectors
        for pod in kube.pods(namespace, selector)
        if SIDECAR not in pod.containers and not pod.deleting
    ]
    delete(kube, [ask_to_go(kube, pod) for pod in bare], timeout=timeout)
    return tuple(pod.name for pod in bare)


def ask_to_go(kube: Kube, pod: PodSummary) -> ObjectRef:
    """Ask for a pod's deletion with a short grace; one that is gone is no error.

    Args:
        kube: Client of the cluster.
        pod: The pod.

    Returns:
        What it is called.

    Raises:
        KubeError: The API server refuses it.
    """
    ref = ObjectRef("v1", "Pod", pod.namespace, pod.name)
    try:
        with api_errors(f"delete {ref}"):
            kube.core.delete_namespaced_pod(pod.name, pod.namespace, grace_period_seconds=GRACE_SECONDS)
    except KubeError as problem:
        if problem.status != 404:
            raise
    return ref
