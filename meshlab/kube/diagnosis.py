"""Asks the cluster why something does not start, in the words that a wait or a report can show."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from meshlab.core.errors import KubeError
from meshlab.kube.causes import Diagnosis, diagnose_owner, diagnose_pod
from meshlab.kube.client import Kube
from meshlab.kube.evidence import dump_evidence
from meshlab.kube.pods import summarise

__all__ = ["Cause", "Diagnosis", "belongs", "dump_evidence", "explain", "find_causes"]

OWNERS = (
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
)
SHOWN = 3  # causes that a message names
LOG_LINES = 15
REMOVED = "unable to retrieve container logs"  # the kubelet says so with status 200
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cause:
    """A diagnosis and the object it is about ("pod default/reviews-v1-...")."""

    subject: str
    diagnosis: Diagnosis


def find_causes(
    kube: Kube,
    namespace: str,
    *,
    of: Sequence[Mapping[str, Any]] = (),
) -> list[Cause]:
    """Find out why pods of a namespace are not Ready, or are not created at all.

    of: only pods of these workloads (objects with a spec.selector).
    """
    events = kube.objects("v1", "Event", namespace)
    found: list[Cause] = []
    for pod in kube.objects("v1", "Pod", namespace):
        meta = pod["metadata"]
        if "deletionTimestamp" in meta or not belongs(meta.get("labels") or {}, of):
            continue
        diagnosis = diagnose_pod(pod, events, partial(_log, kube, namespace, meta["name"]))
        if diagnosis:
            found.append(Cause(f"pod {namespace}/{meta['name']}", diagnosis))
    for api_version, kind in OWNERS:
        for owner in kube.objects(api_version, kind, namespace):
            labels = owner["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
            if not belongs(labels, of) or owner["spec"].get("replicas", 1) == 0:
                continue
            diagnosis = diagnose_owner(owner, events)
            if diagnosis:
                found.append(Cause(f"{kind} {namespace}/{owner['metadata']['name']}", diagnosis))
    return found


def explain(kube: Kube, namespace: str, *, of: Sequence[Mapping[str, Any]] = ()) -> str:
    """Say why pods are not Ready.

    Made for the `explain=` of a wait, so a refusal of the API becomes part of the text instead of an error.

    Args:
        kube: Client of the cluster.
        namespace: Of the pods.
        of: Owners: only their pods count.

    Returns:
        The causes with what to do, else how each unready pod stands.
    """
    try:
        causes = find_causes(kube, namespace, of=of)
        if causes:
            return _told(causes)
        pods = [
            pod
            for pod in map(summarise, kube.objects("v1", "Pod", namespace))
            if not pod.is_ready and pod.phase != "Succeeded" and belongs(pod.labels, of)
        ]
    except KubeError as problem:
        return f"the cause can't be read: {problem.message}"
    if not pods:
        return f"no pod of {namespace} is in trouble"
    return "; ".join(f"pod {pod.name} is {pod.ready} {pod.status}" for pod in pods[:SHOWN])


def _told(causes: Iterable[Cause]) -> str:
    """The causes in a few sentences; several objects with the same one are named together."""
    grouped: dict[tuple[str, str], list[Cause]] = {}
    for cause in causes:
        grouped.setdefault((cause.diagnosis.category, cause.diagnosis.summary), []).append(cause)
    told = []
    for same in list(grouped.values())[:SHOWN]:
        others = f" and {len(same) - 1} more" if len(same) > 1 else ""
        told.append(f"{same[0].subject}{others}: {same[0].diagnosis}; to do: {same[0].diagnosis.resolution}")
    if len(grouped) > SHOWN:
        told.append(f"{len(grouped) - SHOWN} further causes")
    return "; ".join(told)


def belongs(labels: Mapping[str, str], workloads: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these labels are selected by one of the workloads; true when none is given."""
    wanted = [w["spec"].get("selector", {}).get("matchLabels") or {} for w in workloads]
    return not wanted or any(w.items() <= labels.items() for w in wanted if w)


def _log(kube: Kube, namespace: str, pod: str, container: str, previous: bool) -> str:
    """Read the end of a container's log; empty without any.

    Where the log of this run is already removed, that of the other run is read. The diagnosis stands without
    it, so a log that can't be read is no error here.
    """
    for run in (previous, not previous):
        try:
            text = kube.pod_log(namespace, pod, container, previous=run, lines=LOG_LINES)
        except KubeError as problem:
            log.debug("no log for a diagnosis: %s", problem.message)
            continue
        if text.strip() and not text.startswith(REMOVED):
            return text
    return ""
