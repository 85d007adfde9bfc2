"""Why a pod does not start: a category, a sentence and what to do, from what the API says about it.

Pure functions. Model: prefect-kubernetes' diagnostics (category, summary, detail, resolution).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.kube.pods import condition, is_sidecar

Object = Mapping[str, Any]
LogReader = Callable[[str, bool], str]  # container, previous → the end of its log
# Seconds after which an unchanged cause is held not to heal by itself. Even what can't heal gets a moment:
# a pod of the revision that is just being replaced may show it last.
AT_ONCE, SOON, LATE = 5.0, 30.0, 60.0
CRASHES_THAT_HEAL = 3  # a program that waits for another by dying usually comes up within so many restarts
IMAGE_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
)
START_REASONS = ("CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun")
# What programs write when the kernel gives them no inotify instance: Envoy, Go programs.
INOTIFY = re.compile(
    r"inotify_fd_ >= 0|inotify.*too many open files|too many open files.*inotify", re.IGNORECASE
)
TROUBLE = re.compile(r"\b(error|critical|fatal|panic|assert failure|exception)\b", re.IGNORECASE)
# Why the API server lets an owner create no pods: what its message says, category, summary, resolution, patience.
REFUSALS = (
    (
        "exceeded quota",
        "Quota",
        "{} may create no more pods",
        "raise the ResourceQuota, or ask for less",
        SOON,
    ),
    (
        "failed calling webhook",
        "Webhook",
        "a webhook that {}'s pods must pass does not answer",
        "start what serves the webhook (for sidecar injection: istiod), or remove its configuration",
        LATE,
    ),
    ("admission webhook", "Webhook", "a webhook denies {}'s pods", "satisfy the rule it names", AT_ONCE),
    (
        "violates PodSecurity",
        "PodSecurity",
        "{}'s pods break the namespace's pod security level",
        "relax the namespace's pod-security.kubernetes.io/enforce label (istio-init needs NET_ADMIN)",
        AT_ONCE,
    ),
    (
        "serviceaccount.*not found",
        "ServiceAccount",
        "{}'s service account is missing",
        "apply it first",
        SOON,
    ),
    ("", "CreateRefused", "{} can't create its pods", "correct what the API server names", LATE),
)


@dataclass(frozen=True)
class Diagnosis:
    """Why something does not start.

    category: one word (ImagePull, Unschedulable, CrashLoop, ProbeFailed, MissingConfig, Volume, Sandbox,
    StartFailed, Evicted, NodeLimit, Quota, Webhook, PodSecurity, ServiceAccount, CreateRefused). summary: one
    sentence. detail: what the cluster said. resolution: what to do. patience: seconds after which waiting
    on is pointless; None: it may heal.
    """

    category: str
    summary: str
    detail: str
    resolution: str
    patience: float | None = None

    def __str__(self) -> str:
        return f"{self.category}: {self.summary}" + (f" ({self.detail})" if self.detail else "")


def diagnose_pod(pod: Object, events: Iterable[Object], log: LogReader) -> Diagnosis | None:
    """Say why a pod is not Ready; None when it is, or when nothing is known yet.

    events: those of its namespace.
    """
    if condition(pod, "Ready").get("status") == "True" or pod.get("status", {}).get("phase") == "Succeeded":
        return None
    own = _events_of(pod, events)
    return (
        _evicted(pod)
        or _unscheduled(pod, own)
        or next((d for c in _statuses(pod) if (d := _container(pod, c, log))), None)
        or _not_created(own)
        or _probe(pod, own, log)
    )


def diagnose_owner(owner: Object, events: Iterable[Object]) -> Diagnosis | None:
    """Why a ReplicaSet, StatefulSet, DaemonSet or Job can't create its pods; None when nothing says so."""
    failure = condition(owner, "ReplicaFailure")
    message = failure.get("message", "") if failure.get("status") == "True" else ""
    if not message and owner["kind"] != "ReplicaSet":  # the others have no such condition
        refused = [e for e in _events_of(owner, events) if e.get("reason") == "FailedCreate"]
        message = refused[-1].get("message", "") if refused else ""
    if not message:
        return None
    name = f"{owner['kind']} {owner['metadata']['name']}"
    _, category, summary, resolution, patience = next(
        each for each in REFUSALS if re.search(each[0], message, re.DOTALL | re.IGNORECASE)
    )
    return Diagnosis(category, summary.format(name), message, resolution, patience)


def _events_of(subject: Object, events: Iterable[Object]) -> list[Object]:
    """The events about an object, oldest first. By uid: a pod of the same name may have been there before."""
    uid = subject["metadata"].get("uid")
    own = [e for e in events if e.get("involvedObject", {}).get("uid") == uid]
    return sorted(own, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _evicted(pod: Object) -> Diagnosis | None:
    status = pod.get("status", {})
    if status.get("reason") != "Evicted":
        return None
    message = status.get("message", "")
    return Diagnosis(
        "Evicted",
        "the node removed the pod to save itself",
        message,
        "free the resource it names on the node",
    )


def _unscheduled(pod: Object, events: Sequence[Object]) -> Diagnosis | None:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return None
    message = scheduled.get("message", "")
    lacking = sorted(set(re.findall(r"Insufficient ([\w-]+(?:[./][\w-]+)*)", message)))
    taints = sorted(set(re.findall(r"untolerated taint\(?s?\)? ?\{([^}:]+)", message)))
    if lacking:
        summary = f"no node has enough {', '.join(lacking)} left for it"
        resolution = f"add a node, end other pods, or lower the pod's {' and '.join(lacking)} request"
    elif taints:
        summary = f"every node that would fit has a taint it does not tolerate ({', '.join(taints)})"
        resolution = "wait until the nodes are Ready, remove the taint, or add a toleration"
    else:
        summary, resolution = (
            "no node fits it",
            "compare its node selector, affinity and volumes with the nodes",
        )
    growing = any(e.get("reason") == "TriggeredScaleUp" for e in events)
    return Diagnosis("Unschedulable", summary, message, resolution, None if growing else LATE)


def _container(pod: Object, status: Object, log: LogReader) -> Diagnosis | None:
    """What the state of one container says."""
    name, state = status["name"], status.get("state", {})
    waiting = state.get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in IMAGE_REASONS:
        return _image(name, status.get("image") or _declared(pod, name).get("image", ""), reason, message)
    if reason == "CreateContainerConfigError":
        return Diagnosis(
            "MissingConfig",
            f"container {name} needs a ConfigMap, Secret or key that is not there",
            message,
            "create what the message names in the pod's namespace",
            LATE,
        )
    crashed = state.get("terminated") or status.get("lastState", {}).get("terminated") or {}
    if reason in START_REASONS or crashed.get("reason") in START_REASONS:
        said = message or crashed.get("message", "")
        return Diagnosis(
            "StartFailed",
            f"container {name} can't be started",
            said,
            "correct its command, user or mounts",
            SOON,
        )
    if reason == "CrashLoopBackOff" or (not status.get("ready") and crashed.get("exitCode")):
        return _crash(name, status, crashed, log)
    return None


def _image(name: str, image: str, reason: str, message: str) -> Diagnosis:
    text = message.lower()
    if reason in ("InvalidImageName", "ErrImageNeverPull", "ImageInspectError"):
        patience, resolution = AT_ONCE, "correct the image's name, or import the image on the node"
    elif any(t in text for t in ("unauthorized", "denied", "authentication required")):
        patience, resolution = SOON, "give the pod credentials for the registry (imagePullSecrets)"
    elif any(t in text for t in ("not found", "manifest unknown", "does not exist", "no such image")):
        patience, resolution = SOON, "correct the image's name and tag, or import the image on the node"
    else:
        patience, resolution = (
            LATE,
            "check that the nodes reach the registry, or import the image on the node",
        )
    detail = f"{reason}: {message}" if message else reason
    return Diagnosis(
        "ImagePull", f"image {image} of container {name} can't be had", detail, resolution, patience
    )


def _crash(name: str, status: Object, crashed: Object, log: LogReader) -> Diagnosis:
    restarts = status.get("restartCount", 0)
    running_again = "running" in status.get("state", {})
    patience = LATE if restarts >= CRASHES_THAT_HEAL else None
    if crashed.get("reason") == "OOMKilled":
        return Diagnosis(
            "CrashLoop",
            f"container {name} was killed for using more memory than its limit, {restarts} restarts",
            "OOMKilled",
            "raise its memory limit",
            patience,
        )
    lines = log(name, running_again or restarts > 0).strip().splitlines()
    end = " | ".join(lines[-8:])
    return _machine_limit(name, lines) or Diagnosis(
        "CrashLoop",
        f"container {name} ended with exit code {crashed.get('exitCode', '?')}, {restarts} restarts",
        f"end of its log: {end}" if end else "its log is empty",
        "the log says why; correct its configuration or what it depends on",
        patience,
    )


def _machine_limit(name: str, lines: Iterable[str]) -> Diagnosis | None:
    """Find a limit of the node in a container's log: nothing in the pod or its configuration mends that."""
    told = [line.strip() for line in lines if INOTIFY.search(line)]
    if not told:
        return None
    return Diagnosis(
        "NodeLimit",
        f"the node has no inotify instance left for container {name}",
        f"its log: {told[-1]}",
        "raise the node's fs.inotify.max_user_instances; on the local cluster: --set local.inotify_instances=1024",
        SOON,
    )


def _not_created(events: Sequence[Object]) -> Diagnosis | None:
    """Causes that only events tell, of pods that are on a node but have no running container yet."""
    for event in reversed(events):
        reason, message = event.get("reason", ""), event.get("message", "")
        if reason in ("Started", "Created"):
            return None
        if reason in ("FailedMount", "FailedAttachVolume"):
            missing = re.search(r'(configmap|secret) "([^"]+)" not found', message)
            summary = f"{missing[1]} {missing[2]} is missing" if missing else "a volume can't be mounted"
            category = "MissingConfig" if missing else "Volume"
            return Diagnosis(
                category, summary, message, "create it in the pod's namespace, or correct the volume", LATE
            )
        if reason == "FailedCreatePodSandBox":
            return Diagnosis(
                "Sandbox",
                "the node can't give the pod its sandbox or network (CNI)",
                message,
                "look at the node's container runtime, its CNI configuration and the CNI plugin's pods",
                LATE,
            )
    return None


def _probe(pod: Object, events: Sequence[Object], log: LogReader) -> Diagnosis | None:
    failed = [e for e in events if e.get("reason") in ("Unhealthy", "ProbeError")]
    unready = {
        c["name"]
        for c in _statuses(pod)
        if not c.get("ready") and ("running" in c.get("state", {}) or is_sidecar(_declared(pod, c["name"])))
    }
    for event in reversed(failed):
        found = re.search(r"\{([^}]+)\}", event.get("involvedObject", {}).get("fieldPath", ""))
        name = found[1] if found else ""
        if name in unready:
            kind = event.get("message", "").partition(" probe")[0].lower()
            lines = log(name, False).strip().splitlines()
            wrong = [line.strip() for line in lines if TROUBLE.search(line)]
            told = [event.get("message", ""), *([f"its log: {' | '.join(wrong[-3:])}"] if wrong else [])]
            return _machine_limit(name, lines) or Diagnosis(
                "ProbeFailed",
                f"container {name} runs but fails its {kind} probe",
                "; ".join(told),
                "its log and the probe's path and port say why; it may only need more time",
            )
    return None


def _declared(pod: Object, name: str) -> Object:
    spec = pod.get("spec", {})
    found = [c for c in [*spec.get("initContainers", []), *spec.get("containers", [])] if c["name"] == name]
    return found[0] if found else {}
