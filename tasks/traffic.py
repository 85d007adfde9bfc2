"""Load: the document's two loops, in the background while metrics are awaited, stopped and drained before counting."""

from __future__ import annotations

import csv
import threading
import time
from collections import Counter
from typing import Literal

from prefect.futures import PrefectFuture

from meshlab.app.background_traffic import BackgroundResult, BackgroundTraffic, streams
from meshlab.app.loop import RequestLoop, TrafficResult
from meshlab.app.source import find_source
from meshlab.app.traffic_clients import wait_ingress
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import NotHereError, WaitTimeout
from meshlab.core.progress import Update
from meshlab.core.registry import instance
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import kube_of, mesh_of
from meshlab.observability.addons.whereabouts import called
from meshlab.run.journal import RunRef, record, record_measures, report_progress
from meshlab.run.results import Measure
from tasks.common import lab_task, log_info
from tasks.resume import any_value

Pace = Literal["fast", "gentle"]
INGRESS_STREAM = "http-ingress"  # of the background traffic's
UNSENT = "nothing is sent through the ingress gateway"


class _Brake:
    """Ends a loop that another thread runs. enough: after its least time. now: at once, a teardown is waiting."""

    def __init__(self) -> None:
        self.enough = threading.Event()
        self.now = threading.Event()


class _Loads:
    """What sends requests for one run."""

    def __init__(self) -> None:
        self.brakes: dict[Pace, _Brake] = {"fast": _Brake(), "gentle": _Brake()}
        self.loops: list[RequestLoop] = []
        self.background: tuple[threading.Event, PrefectFuture[BackgroundResult]] | None = None


def _loads(run: RunRef) -> _Loads:
    return instance(_Loads, run.run_id)


def sent_so_far(run: RunRef) -> dict[str, int]:
    """HTTP status → requests that the run's loops have sent by now, finished loops included."""
    total: Counter[str] = Counter()
    for loop in tuple(_loads(run).loops):
        total.update(loop.snapshot().by_status)
    return dict(total)


def generate_load(
    run: RunRef, config: LabConfig, cluster: ClusterRef, pace: Pace
) -> PrefectFuture[TrafficResult]:
    """Start one of the two loops beside the flow. Its result comes from `stop_load`.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        pace: Which loop.

    Returns:
        The future of what it sends.
    """
    task = {"fast": fast_load, "gentle": gentle_load}[pace]
    return task.submit(run, config, cluster)


def stop_load(run: RunRef, load: PrefectFuture[TrafficResult], pace: Pace) -> TrafficResult:
    """Let the loop reach its least time, drain it, and return what it sent. Raises what the loop raised.

    Args:
        run: The run.
        load: The loop's future.
        pace: Which loop.

    Returns:
        What it sent.
    """
    _loads(run).brakes[pace].enough.set()
    return load.result()


def halt_load(run: RunRef, *loads: PrefectFuture[TrafficResult]) -> None:
    """End every loop of the run at once and wait for its thread: nothing may send while the cluster is removed.

    Args:
        run: The run.
        *loads: The loops' futures.
    """
    for brake in _loads(run).brakes.values():
        brake.now.set()
        brake.enough.set()
    for load in loads:
        load.wait()
    background = _end_background(run)
    if background is not None:
        background.wait()


@lab_task("fast-load", verify=any_value, depends_on_pods=True)
def fast_load(run: RunRef, config: LabConfig, cluster: ClusterRef) -> TrafficResult:
    """A request every 0.3 s, as while the document looks at dashboards."""
    return _send(run, config, cluster, "fast", config.traffic.fast_interval, config.traffic.fast_seconds)


@lab_task("gentle-load", verify=any_value, depends_on_pods=True)
def gentle_load(run: RunRef, config: LabConfig, cluster: ClusterRef) -> TrafficResult:
    """A request every 1–2 s, as while the document looks at traces and the graph."""
    return _send(
        run, config, cluster, "gentle", config.traffic.gentle_interval, config.traffic.gentle_seconds
    )


@lab_task("mixed-traffic", verify=any_value, depends_on_pods=True)
def send_background_traffic(
    run: RunRef, config: LabConfig, cluster: ClusterRef, begun: threading.Event, enough: threading.Event
) -> BackgroundResult:
    """Send plaintext, TCP and ingress traffic beside the counted loop, until `stop_background_traffic`."""
    kube, mesh = kube_of(cluster), mesh_of(run, cluster)
    through = config.scope == "mesh" and _ingress_routes(run, kube, config, mesh)
    wanted = streams(config, mesh, called(kube, config))
    wanted = tuple(each for each in wanted if through or each.name != INGRESS_STREAM)
    with BackgroundTraffic(kube, config.namespace, wanted) as traffic:
        begun.set()
        enough.wait()
        sent = traffic.stop_and_drain()
    log_info(f"background traffic: {sent}")
    record_measures(run, Measure("mixed-requests-sent", sent.sent, "requests"))
    return sent


def _ingress_routes(run: RunRef, kube: Kube, config: LabConfig, mesh: Mesh) -> bool:
    """Wait for our route; where a mesh of somebody else has no gateway for it, say so, and the run goes on without.

    On a mesh of ours a gateway that takes no route is a fault of the lab.
    """
    try:
        wait_ingress(kube, mesh)
    except NotHereError as problem:  # a good mesh, whose `ingress.*` say so as well
        log_info(f"{UNSENT}: {problem.message}")
        return False
    except WaitTimeout as problem:
        if config.ours:
            raise
        record(run, {"event": "warning", "text": f"{UNSENT}: {problem.message}"})
        return False
    return True


def start_background_traffic(run: RunRef, config: LabConfig, cluster: ClusterRef) -> None:
    """Start the background traffic beside the flow, and return when it flows. Raises what kept it from that.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
    """
    begun, enough, ended = threading.Event(), threading.Event(), threading.Event()

    def end(_: PrefectFuture[BackgroundResult]) -> None:
        ended.set()
        begun.set()

    background = send_background_traffic.submit(run, config, cluster, begun, enough)
    _loads(run).background = enough, background
    background.add_done_callback(end)
    begun.wait()
    if ended.is_set():  # it failed, or had been drained before the run was cut off
        background.result()


def stop_background_traffic(run: RunRef) -> BackgroundResult | None:
    """End and drain the background traffic; None when there is none.

    May be called twice. Raises what the traffic raised.
    """
    background = _end_background(run)
    return background.result() if background is not None else None


def _end_background(run: RunRef) -> PrefectFuture[BackgroundResult] | None:
    """Tell the background traffic to end; None where there is none, or it was told before."""
    loads = _loads(run)
    background, loads.background = loads.background, None
    if background is None:
        return None
    background[0].set()
    return background[1]


def _send(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    pace: Pace,
    interval: float | tuple[float, float],
    least: float,
) -> TrafficResult:
    kube = kube_of(cluster)
    source = find_source(kube, config.namespace)
    brake = _loads(run).brakes[pace]
    begun = time.monotonic()
    loop = RequestLoop(kube, source, "productpage:9080/productpage", interval=interval)
    _loads(run).loops.append(loop)
    with loop:
        while not brake.now.is_set():
            so_far = loop.snapshot()
            left = least - (time.monotonic() - begun)
            report_progress(
                Update(
                    f"{pace} load",
                    detail=f"{so_far.sent} requests, {so_far.by_status.get('200', 0)} with 200",
                )
            )
            if not loop.running or (brake.enough.is_set() and left <= 0):
                break
            (brake.now if brake.enough.is_set() else brake.enough).wait(min(1.0, max(left, 0.2)))
        sent = loop.stop_and_drain()
    report_progress(Update(f"{pace} load", 1, 1, f"{sent.sent} requests"))
    _keep(run, pace, loop, sent)
    log_info(
        f"{pace} load: {sent.sent} requests, {dict(sent.by_status)}, p50 {sent.p50_ms} ms, p99 {sent.p99_ms} ms"
    )
    return sent


def _keep(run: RunRef, pace: Pace, loop: RequestLoop, sent: TrafficResult) -> None:
    """Every request as a line of evidence, and the numbers that are worth keeping over nights."""
    with (run.evidence / f"requests-{pace}.csv").open("w", newline="", encoding="utf-8") as sink:
        rows = csv.writer(sink)
        rows.writerow(("number", "started", "status", "ms", "curl_exit"))
        rows.writerows(
            (r.number, r.started.isoformat(), r.status, f"{r.ms:.2f}", r.exit_code) for r in loop.records()
        )
    labels = {"loop": pace}
    record_measures(run, Measure("requests-sent", sent.sent, "requests", labels))
    record_measures(run, Measure("requests-ok", sent.by_status.get("200", 0), "requests", labels))
    record_measures(run, Measure("request-rate", round(sent.rate, 3), "requests/s", labels))
    for name, value in (("p50", sent.p50_ms), ("p90", sent.p90_ms), ("p99", sent.p99_ms)):
        if value is not None:
            record_measures(run, Measure(f"request-{name}", round(value, 3), "ms", labels))
