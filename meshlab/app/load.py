"""A load test from inside of the cluster: fortio in the pods of a Kubernetes Job, beside a sidecar or without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import PAGE_PATH
from meshlab.app.deployment import with_images
from meshlab.app.load_result import PERCENTILES, RESOLUTION, LoadResult, combine, fortio_json
from meshlab.config.settings import LabConfig
from meshlab.config.settings_load import LoadProfile
from meshlab.core.errors import KubeError, MeshlabError
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.rollout import CauseWatch

FORTIO = "fortio"  # the container's name, and that of the image
PAGE = f"http://productpage:9080{PAGE_PATH}"
LOG_LINES = 50_000  # fortio's result has a few for each bucket and connection
ANSWER_SECONDS = 10  # a request that takes longer counts as one without an answer
BEGINS_WITHIN = (
    15.0  # seconds beside those of the load: fortio asks once over each connection before it begins
)


@dataclass(frozen=True)
class Sender:
    """A load test's Job: its name, how many pods send, whether they have a sidecar, and what they ask."""

    name: str = "meshlab-load"
    pods: int = 1
    sidecar: bool = True
    url: str = PAGE


def job(sender: Sender, profile: LoadProfile, namespace: str) -> dict[str, Any]:
    """Make the Job of a load test.

    Args:
        sender: Who sends.
        profile: What all its pods send together; they share rate and connections evenly.
        namespace: Where it runs.

    Returns:
        The object, with the official image.
    """
    found: dict[str, Any] = manifests.read("load-job", NAME=sender.name, NAMESPACE=namespace)
    spec = found["spec"]
    spec["parallelism"] = spec["completions"] = sender.pods
    if not sender.sidecar:
        spec["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    rate = 0.0 if profile.rate is None else profile.rate / sender.pods  # 0: as fast as answers come
    spec["template"]["spec"]["containers"][0]["args"] = [
        "load",
        *("-qps", f"{rate:g}", "-c", str(profile.connections // sender.pods), "-t", f"{profile.seconds:g}s"),
        "-uniform",  # else all connections send at the same moment
        *("-timeout", f"{ANSWER_SECONDS}s", "-allow-initial-errors", "-log-errors=false"),
        *("-r", f"{RESOLUTION:g}", "-p", ",".join(f"{percent:g}" for percent in PERCENTILES)),
        *("-json", "-", sender.url),
    ]
    return found


def run_load(
    kube: Kube,
    changes: Changes,
    config: LabConfig,
    sender: Sender,
    profile: LoadProfile,
    images: Sequence[str] = (),
    *,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> LoadResult:
    """Apply a load test's Job, wait until fortio has ended in each of its pods, and read what it found.

    Args:
        kube: Client of the cluster.
        changes: Applies the Job, and removes it when it is put back.
        config: The settings of the run.
        sender: Who sends.
        profile: What is sent.
        images: References of our images; looked up in the cluster when empty.
        progress: Told how far it came.
        clock: Of the waits; the machine's where not given.

    Returns:
        What fortio found.

    Raises:
        KubeError: fortio failed, or told no result; its text has the end of its log.
        RolloutError: A pod does not start; its text names the cause.
        WaitTimeout: It did not end in time.
        IstioError: The image has no replacement.
    """
    clock = clock or SystemClock()
    changes.apply(*with_images(kube, config, [job(sender, profile, config.namespace)], images, clock=clock))
    pods = _ended(kube, config, sender, profile, progress, clock)
    found = [_result(kube, config.namespace, pod) for pod in pods]
    return combine(profile, found)


def _ended(
    kube: Kube, config: LabConfig, sender: Sender, profile: LoadProfile, progress: Progress, clock: Clock
) -> list[str]:
    """Wait until fortio has ended well in all pods; returns their names."""
    labels = {"app": sender.name}
    causes, owner = CauseWatch(kube, config.namespace, clock), {"spec": {"selector": {"matchLabels": labels}}}

    def look() -> dict[str, Mapping[str, Any]]:
        pods = kube.objects("v1", "Pod", config.namespace, selector=f"app={sender.name}")
        return {each["metadata"]["name"]: _state(each) for each in pods}

    def failed(states: Mapping[str, Mapping[str, Any]]) -> MeshlabError | None:
        for pod, state in states.items():
            if state.get("terminated", {}).get("exitCode"):
                code = state["terminated"]["exitCode"]
                raise _told_nothing(kube, config.namespace, pod, f"fortio ended with exit code {code}")
        begun = [state for state in states.values() if "running" in state or "terminated" in state]
        return causes.verdict([owner]) if len(begun) < sender.pods else None

    def told(states: Mapping[str, Mapping[str, Any]]) -> str:
        return (
            f"{_count(states, 'running')} pods send, {_count(states, 'terminated')} of {sender.pods} are done"
        )

    states = wait(
        f"the load test {sender.name} to end",
        look,
        ready=lambda states: _count(states, "terminated") == sender.pods,
        error=failed,
        describe=told,
        timeout=config.app.rollout_timeout + profile.longest(sender.pods) + BEGINS_WITHIN,
        on_change=lambda text: progress(Update("load test", detail=text)),
        remedy=f"look at its pods: kubectl -n {config.namespace} get pods -l app={sender.name}",
        clock=clock,
    )
    return sorted(states)


def _state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state of fortio's container: running, waiting or terminated; empty where none is known yet."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return next((each.get("state") or {} for each in statuses if each["name"] == FORTIO), {})


def _count(states: Mapping[str, Mapping[str, Any]], state: str) -> int:
    return sum(state in each for each in states.values())


def _result(kube: Kube, namespace: str, pod: str) -> Mapping[str, Any]:
    found = fortio_json(kube.pod_log(namespace, pod, FORTIO, lines=LOG_LINES))
    if found is None:
        raise _told_nothing(kube, namespace, pod, "fortio's log has no result")
    if not found["DurationHistogram"]["Count"]:
        raise _told_nothing(kube, namespace, pod, "fortio sent no request")
    return found


def _told_nothing(kube: Kube, namespace: str, pod: str, what: str) -> KubeError:
    said = kube.pod_log(namespace, pod, FORTIO, lines=12).strip()
    return KubeError(f"{what} in {namespace}/{pod}: {said}", remedy="see whether the page answers that load")
