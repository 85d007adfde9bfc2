"""What `kubectl rollout restart` does, and the wait until it is done: new pods are Ready before old ones go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from meshlab.core.errors import KubeError
from meshlab.core.waiting import Clock, wait
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube
from meshlab.kube.diagnosis import explain
from meshlab.kube.rollout import wait_deployments

ANNOTATION = "kubectl.kubernetes.io/restartedAt"  # kubectl's own: a template that differs makes new pods


def restart_workload(
    kube: Kube,
    ref: ObjectRef,
    *,
    labels: Mapping[str, str] | None = None,
    timeout: float,
    clock: Clock | None = None,
) -> None:
    """Restart a workload as its own strategy says, and wait until all of its pods are new and Ready.

    Args:
        kube: Client of the cluster.
        ref: A Deployment, StatefulSet or DaemonSet.
        labels: Labels that its pods get from now on.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Raises:
        RolloutError: A Deployment does not get Ready; its text names the cause.
        WaitTimeout: It took too long.
        KubeError: It is not there, or the API server refuses it.
    """
    template: dict[str, Any] = {"annotations": {ANNOTATION: datetime.now(UTC).isoformat()}}
    if labels:
        template["labels"] = dict(labels)
    kube.patch(
        ref.api_version, ref.kind, ref.name, {"spec": {"template": {"metadata": template}}}, ref.namespace
    )
    if ref.kind == "Deployment":
        wait_deployments(kube, str(ref.namespace), [ref.name], timeout=timeout, clock=clock)
        return

    def lacks() -> str:
        found = kube.get(ref.api_version, ref.kind, ref.name, ref.namespace)
        if found is None:
            raise KubeError(f"{ref} is gone", status=404, remedy="it was deleted during its restart")
        return _lacks(found)

    wait(
        f"{ref} to be restarted",
        lacks,
        ready=lambda why: not why,
        describe=lambda why: why or "all pods are new and Ready",
        explain=lambda: explain(kube, str(ref.namespace)),
        timeout=timeout,
        clock=clock,
    )


def _lacks(found: Mapping[str, Any]) -> str:
    """Say what a StatefulSet or DaemonSet still lacks.

    Rules: kubectl's rollout status (polymorphichelpers).
    """
    status, spec = found.get("status") or {}, found.get("spec") or {}
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return "its change is not seen yet"
    if found["kind"] == "DaemonSet":
        wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        ready = status.get("numberAvailable", 0)
    else:
        wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
        same = status.get("currentRevision") == status.get("updateRevision")
        updated = wanted if same else status.get("updatedReplicas", 0)
    if updated < wanted:
        return f"{updated} of {wanted} pods updated"
    return "" if ready >= wanted else f"{ready} of {wanted} pods Ready"
