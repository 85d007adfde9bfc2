"""Restarts of our own workloads while requests are sent to them, and a Job that has a sidecar: what was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from meshlab.app.bookinfo import DETAILS, PAGE_PATH, PRODUCTPAGE, RATINGS, REVIEWS_V1, REVIEWS_V2, REVIEWS_V3
from meshlab.app.bookinfo import Workload as App
from meshlab.app.job import JOB, job_with_sidecar
from meshlab.app.loop import Request, RequestLoop
from meshlab.app.source import Source, find_source
from meshlab.core.address import host_port
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.waiting import Clock, wait, wait_or_last
from meshlab.envoy.stats import SidecarReader
from meshlab.istio.control_plane import with_sidecar
from meshlab.istio.mesh import Mesh
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary, condition
from meshlab.kube.restart import restart_workload

LOOPS, PAUSE = 8, 0.15  # with answers within 250 ms these send 20 requests/s and more
REQUEST_TIMEOUT = 5.0  # seconds; a request that takes longer has failed
FIRST, TO_START = 10, 30.0  # requests that must be sent before the restart, and seconds for that
GONE_TIMEOUT = 90.0  # seconds until the old pods are gone: longer than Kubernetes' 30 s of grace
JOB_TIMEOUT = 120.0  # seconds
PATHS: Mapping[App, str] = {
    PRODUCTPAGE: PAGE_PATH,
    DETAILS: "/details/0",
    RATINGS: "/ratings/0",
    REVIEWS_V1: "/reviews/0",
    REVIEWS_V2: "/reviews/0",
    REVIEWS_V3: "/reviews/0",
}
Alter = Callable[[App], None]


@dataclass(frozen=True)
class Restarted:
    """A workload that was restarted while requests were sent.

    Times by this machine's clock, but `ready`: when the last of the new pods got Ready, by the cluster's. gone: when no old
    pod was there any more. replaced: pods that are new. flags: Envoy's response flags → requests that the caller's sidecar
    counted with them. refused_by_new: requests that the new pods' own sidecars counted as failed. errors: why the counts
    may be wrong.
    """

    workload: str
    url: str
    requests: tuple[Request, ...]
    begun: datetime
    ready: datetime
    gone: datetime
    replaced: int
    flags: Mapping[str, int]
    refused_by_new: int
    errors: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Requests per second."""
        times = [each.started for each in self.requests]
        seconds = (max(times) - min(times)).total_seconds() if times else 0.0
        return len(times) / seconds if seconds else 0.0


@dataclass(frozen=True)
class JobEnded:
    """How a Job with a sidecar ended. sidecar: whether its pod had one. condition: Complete, Failed, or "" while it runs."""

    condition: str
    sidecar: bool
    native: bool
    why: str = ""


def restart_all(
    kube: Kube,
    mesh: Mesh,
    *,
    timeout: float,
    alter: Alter = lambda workload: None,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> tuple[Restarted, ...]:
    """Restart each server of the application in turn, with requests of the sleep pod going to it throughout.

    Args:
        kube: Client of the cluster.
        mesh: Its facts, for our namespace.
        timeout: Seconds for each rollout.
        alter: What a planted fault does to a workload just before its restart.
        progress: Told how far it came.
        clock: Of the waits; the real one where not given.

    Returns:
        What was seen, one for each workload.

    Raises:
        RolloutError: A workload does not get Ready; its text names the cause.
        KubeError: A pod is not there, or the API server refuses something.
        WaitTimeout: An old pod stays.
    """
    found = []
    for number, app in enumerate(PATHS):
        progress(Update("restarts", number, len(PATHS), app.name))
        found.append(_restart(kube, mesh, app, timeout, alter, clock))
    progress(Update("restarts", len(PATHS), len(PATHS), "done"))
    return tuple(found)


def _restart(
    kube: Kube, mesh: Mesh, app: App, timeout: float, alter: Alter, clock: Clock | None
) -> Restarted:
    namespace = mesh.namespace
    source, url = find_source(kube, namespace), f"http://{host_port(app.app, app.port)}{PATHS[app]}"
    old = {pod.uid for pod in kube.pods(namespace, app.selector)}
    with SidecarReader(kube, namespace) as reader:
        before = _flags(reader, source, app)
        loops = [
            RequestLoop(kube, source, url, interval=PAUSE, request_timeout=REQUEST_TIMEOUT)
            for _ in range(LOOPS)
        ]
        try:
            with ThreadPoolExecutor(LOOPS, thread_name_prefix="restarts") as pool:
                list(pool.map(RequestLoop.start, loops))
            _await_traffic(loops, app, clock)
            begun = datetime.now(UTC)
            alter(app)
            restart_workload(kube, ObjectRef("apps/v1", "Deployment", namespace, app.name), timeout=timeout)
            _await_gone(kube, namespace, app, old, clock)
            gone = datetime.now(UTC)
        finally:
            for loop in loops:
                loop.ask_to_stop()
            sent = [loop.stop_and_drain() for loop in loops]
        new = [pod for pod in kube.pods(namespace, app.selector) if pod.uid not in old]
        after = _flags(reader, source, app)
        refused = _failed_inside(reader, new)
    return Restarted(
        app.name,
        url,
        tuple(sorted((r for loop in loops for r in loop.records()), key=lambda each: each.started)),
        begun,
        _ready_since(kube, new, begun),
        gone,
        len(new),
        {flag: count - before[flag] for flag, count in after.items() if count > before[flag]},
        refused,
        tuple(error for each in sent for error in each.errors),
    )


def _await_traffic(loops: Sequence[RequestLoop], app: App, clock: Clock | None) -> None:
    wait(
        f"requests to {app.name}",
        lambda: min(loop.snapshot().sent for loop in loops),
        ready=lambda least: least * LOOPS >= FIRST,
        describe=lambda least: f"{least} of each loop",
        timeout=TO_START,
        delay=0.1,
        clock=clock,
    )


def _await_gone(kube: Kube, namespace: str, app: App, old: set[str], clock: Clock | None) -> None:
    wait(
        f"the old pods of {app.name} to be gone",
        lambda: [pod.name for pod in kube.pods(namespace, app.selector) if pod.uid in old],
        ready=lambda left: not left,
        describe=lambda left: f"still there: {', '.join(left)}" if left else "none is left",
        timeout=GONE_TIMEOUT,
        delay=0.2,
        clock=clock,
    )


def _flags(reader: SidecarReader, source: Source, app: App) -> Counter[str]:
    """Response flags of the caller's requests to a service; those without a flag are not among them."""
    found: Counter[str] = Counter()
    for sample in reader.stats(source.pod):
        if sample.get("reporter") == "source" and sample.get("destination_service").split(".")[0] == app.app:
            for flag in sample.get("response_flags").split(","):
                if flag not in ("", "-"):
                    found[flag] += int(sample.value)
    return found


def _failed_inside(reader: SidecarReader, pods: Sequence[PodSummary]) -> int:
    """Requests that the sidecars of these pods could not hand to their application."""
    return sum(
        int(sample.value)
        for pod in with_sidecar(pods)
        for sample in reader.stats(pod.name)
        if sample.get("reporter") == "destination"
        and sample.get("response_code") in ("0", "502", "503", "504")
    )


def _ready_since(kube: Kube, pods: Sequence[PodSummary], otherwise: datetime) -> datetime:
    moments = [otherwise]
    for pod in pods:
        since = condition(kube.get("v1", "Pod", pod.name, pod.namespace) or {}, "Ready").get(
            "lastTransitionTime"
        )
        if since:
            moments.append(datetime.fromisoformat(since))
    return max(moments)


def run_job(
    kube: Kube,
    changes: Changes,
    mesh: Mesh,
    *,
    images: Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]],
    timeout: float = JOB_TIMEOUT,
    clock: Clock | None = None,
) -> JobEnded:
    """Run a Job whose pod has a sidecar. A sidecar that is no native one is told by the program that it may go.

    Args:
        kube: Client of the cluster.
        changes: Removes the Job.
        mesh: Its facts, for our namespace.
        images: Gives the Job its images.
        timeout: Seconds until it has ended.
        clock: Of the wait; the real one where not given.

    Returns:
        How it ended.

    Raises:
        KubeError: The API server refuses it.
    """
    native = mesh.sidecars == "native"
    changes.apply(*images([job_with_sidecar(mesh.namespace, native=native)]))

    def ended() -> Mapping[str, Any]:
        status = (kube.get("batch/v1", "Job", JOB, mesh.namespace) or {}).get("status") or {}
        kinds = [each for each in status.get("conditions") or () if each.get("status") == "True"]
        return next((each for each in kinds if each["type"] in ("Complete", "Failed")), {})

    found = wait_or_last(
        f"the Job {JOB} to end",
        ended,
        ready=bool,
        describe=lambda seen: seen.get("type", "it runs"),
        timeout=timeout,
        delay=0.5,
        clock=clock,
    )
    pods = kube.pods(mesh.namespace, f"app={JOB}")
    told = ", ".join(f"{pod.name} is {pod.status}, {pod.ready} ready" for pod in pods)
    return JobEnded(found.get("type", ""), bool(with_sidecar(pods)), native, found.get("message", "") or told)
