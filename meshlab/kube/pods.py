"""One pod in one line, as `kubectl get pods` shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class PodSummary:
    """A pod as kubectl prints it.

    ready: ready containers of all, "2/2". status: kubectl's word (Running, CrashLoopBackOff, Init:0/1,
    Terminating …). started: when the kubelet first saw it, None before. containers: names, native sidecars
    (init containers that go on running) included. images: container name → image, init containers
    included. is_ready: its Ready condition.
    """

    namespace: str
    name: str
    uid: str
    node: str
    ip: str
    ready: str
    phase: str
    status: str
    restarts: int
    started: datetime | None
    containers: tuple[str, ...]
    images: Mapping[str, str]
    labels: Mapping[str, str]
    service_account: str
    is_ready: bool
    deleting: bool
    annotations: Mapping[str, str] = field(default_factory=dict)


def summarise(pod: Mapping[str, Any]) -> PodSummary:
    """The summary of a pod object as the API returns it (JSON)."""
    meta, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    names = [c["name"] for c in spec.get("containers", [])]
    names += [c["name"] for c in spec.get("initContainers", []) if is_sidecar(c)]
    word, ready, restarts = _printed(pod)
    started = status.get("startTime")
    return PodSummary(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        node=spec.get("nodeName", ""),
        ip=status.get("podIP", ""),
        ready=f"{ready}/{len(names)}",
        phase=status.get("phase", "Unknown"),
        status=word,
        restarts=restarts,
        started=datetime.fromisoformat(started) if started else None,
        containers=tuple(names),
        images={
            c["name"]: c.get("image", "")
            for c in [*spec.get("containers", []), *spec.get("initContainers", [])]
        },
        labels=dict(meta.get("labels") or {}),
        service_account=spec.get("serviceAccountName", ""),
        is_ready=condition(pod, "Ready").get("status") == "True",
        deleting="deletionTimestamp" in meta,
        annotations=dict(meta.get("annotations") or {}),
    )


def serving(pods: Iterable[PodSummary]) -> list[PodSummary]:
    """The pods that are Ready and not being deleted."""
    return [pod for pod in pods if pod.is_ready and not pod.deleting]


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container goes on running beside the others (a native sidecar)."""
    return container.get("restartPolicy") == "Always"


def condition(subject: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Find the condition of a type in an object's status.

    Args:
        subject: The object.
        kind: The condition's type, as `Ready`.

    Returns:
        The condition; empty where there is none.
    """
    conditions: list[Mapping[str, Any]] = subject.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == kind), {})


def _printed(pod: Mapping[str, Any]) -> tuple[str, int, int]:
    """Find kubectl's word, ready containers and restarts.

    Rules: printPod in k8s.io/kubernetes/pkg/printers/internalversion.
    """
    status = pod.get("status", {})
    word = status.get("reason") or status.get("phase", "Unknown")
    if condition(pod, "PodScheduled").get("reason") == "SchedulingGated":
        word = "SchedulingGated"
    init_word, ready, restarts, sidecar_restarts = _initialisation(pod)
    word = init_word or word
    if not init_word or condition(pod, "Initialized").get("status") == "True":
        restarts = sidecar_restarts
        running = False
        for each in reversed(status.get("containerStatuses") or []):
            restarts += each.get("restartCount", 0)
            state = each.get("state", {})
            if state.get("waiting", {}).get("reason"):
                word = state["waiting"]["reason"]
            elif "terminated" in state:
                word = _ended(state["terminated"])
            elif each.get("ready") and "running" in state:
                running, ready = True, ready + 1
        if word == "Completed" and running:
            word = "Running" if condition(pod, "Ready").get("status") == "True" else "NotReady"
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            word = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            word = "Terminating"
    return word, ready, restarts


def _initialisation(pod: Mapping[str, Any]) -> tuple[str, int, int, int]:
    """Look at init containers.

    Returns the word of the first one that is not done, ready sidecars, all restarts, and those of sidecars.
    """
    declared = {c["name"]: c for c in pod.get("spec", {}).get("initContainers") or []}
    ready = restarts = sidecar_restarts = 0
    for index, each in enumerate(pod.get("status", {}).get("initContainerStatuses") or []):
        restarts += each.get("restartCount", 0)
        sidecar = is_sidecar(declared.get(each["name"], {}))
        sidecar_restarts += each.get("restartCount", 0) if sidecar else 0
        state = each.get("state", {})
        ended, waiting = state.get("terminated"), state.get("waiting", {}).get("reason", "")
        if ended and ended.get("exitCode") == 0:
            continue
        if sidecar and each.get("started"):
            ready += 1 if each.get("ready") else 0
            continue
        if ended:
            return f"Init:{_ended(ended)}", ready, restarts, sidecar_restarts
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}", ready, restarts, sidecar_restarts
        return f"Init:{index}/{len(declared)}", ready, restarts, sidecar_restarts
    return "", ready, restarts, sidecar_restarts


def _ended(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    signal = terminated.get("signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode')}"
