"""What the mesh costs: fortio to fortio at fixed rates and in a closed loop, with sidecars, and in turns without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import time
from typing import Any

import yaml

from benchmarks import kept
from benchmarks.commands import Bench
from benchmarks.record import Found
from meshlab.app.deployment import put_up
from meshlab.app.load import Sender, run_load
from meshlab.app.load_result import PERCENTILES, LoadResult
from meshlab.config.settings import Machine
from meshlab.config.settings_load import LoadProfile
from meshlab.core.waiting import Clock, wait
from meshlab.kube.changes import Changes
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.query import PrometheusClient
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger

ECHO = Path(__file__).parent / "echo.yaml"
ANSWER = 1024  # bytes, as in Istio's own measurements
CONNECTIONS, SECONDS, WARM = 16, 20.0, 5.0
LOADS = (100.0, 1000.0, None)  # requests/s; None is the closed loop
SERVERS = {"with sidecars": "echo", "without": "echo-plain"}
# Of one sidecar with two worker threads at 1000 requests/s: Istio's documentation, "Performance and Scalability".
PUBLISHED = {"istio": "1.24", "vcpu_per_1000rps": 0.20, "memory_mb": 60}
MEGA = 1e6


@dataclass(frozen=True)
class Use:
    """What a sidecar has used. cpu: seconds since it began. memory: bytes now. at: when the kubelet read it."""

    cpu: float
    memory: float
    at: float


def mesh_cost(bench: Bench) -> Found:
    """Measure answers' times and the server's sidecar's CPU and memory, in turns with a pair without sidecars."""
    with kept.lab(bench, "mesh-cost", "--load", "5,1,1s") as lab:  # that load brings fortio's image
        rows = _measure(lab, bench.folder, bench.times)
    return Found(
        runs={"rows": rows, "published": PUBLISHED, "seconds_each": SECONDS, "connections": CONNECTIONS}
    )


def _measure(lab: kept.Kept, folder: Path, times: int) -> list[dict[str, Any]]:
    run = create(folder / "mesh-cost-loads", "bench")
    ledger = Ledger.open(Machine.here(), run)
    for name in SERVERS.values():
        put_up(lab.kube, lab.config, documents(name), lab.images)
    found: dict[tuple[float | None, str], list[dict[str, Any]]] = {}
    with PROMETHEUS.open(lab.kube, lab.config) as prometheus:
        idle = idle_cores(prometheus, SERVERS["with sidecars"], time())
        for _ in range(times):
            for rate in LOADS:
                for kind in SERVERS:
                    with Changes(lab.kube, ledger, run) as changes:
                        one = _one(lab, changes, prometheus, rate, kind, idle)
                    found.setdefault((rate, kind), []).append(one)
    return [
        {"rate": rate, "kind": kind, "values": single, **_medians(single)}
        for (rate, kind), single in found.items()
    ]


def documents(name: str) -> list[dict[str, Any]]:
    """Make the server and its Service; `echo` has a sidecar, any other name none."""
    inject = "true" if name == SERVERS["with sidecars"] else "false"
    text = ECHO.read_text(encoding="utf-8").replace("NAME", name).replace("INJECT", inject)
    items: list[dict[str, Any]] = yaml.safe_load(text)["items"]
    return items


def idle_cores(client: PrometheusClient, app: str, moment: float, clock: Clock | None = None) -> float:
    """Measure what the sidecar of a server uses while nobody asks it: scrapes, and what istiod pushes.

    Args:
        client: Asks Prometheus.
        app: The server's Deployment.
        moment: Seconds since the epoch, from which on nobody asks.
        clock: Of the waits; the real one where not given.

    Returns:
        Cores, over as many seconds as a load takes.

    Raises:
        WaitTimeout: Nothing was read.
        QueryError: Prometheus refuses a query.
    """
    first = sidecar_use(client, app, moment, clock)
    last = sidecar_use(client, app, first.at + SECONDS, clock)
    return (last.cpu - first.cpu) / (last.at - first.at)


def _one(
    lab: kept.Kept,
    changes: Changes,
    prometheus: PrometheusClient,
    rate: float | None,
    kind: str,
    idle: float,
) -> dict[str, Any]:
    url = f"http://{SERVERS[kind]}:8080/echo?size={ANSWER}"
    meshed = kind == "with sidecars"
    measured = LoadProfile(rate, CONNECTIONS, SECONDS)
    warm = LoadProfile(rate, CONNECTIONS, WARM)
    run_load(lab.kube, changes, lab.config, Sender("bench-warmup", 1, meshed, url), warm, lab.images)
    before = sidecar_use(prometheus, SERVERS[kind], time()) if meshed else None
    found = run_load(
        lab.kube, changes, lab.config, Sender("bench-load", 1, meshed, url), measured, lab.images
    )
    after = sidecar_use(prometheus, SERVERS[kind], time()) if meshed else None
    return row(found, before, after, idle)


def row(found: LoadResult, before: Use | None, after: Use | None, idle: float = 0.0) -> dict[str, Any]:
    """Tell one load as numbers.

    Args:
        found: What fortio found.
        before: What the server's sidecar had used before the load; None without one.
        after: What it had used once the load was over.
        idle: Cores that it uses while nobody asks, which are not the load's.

    Returns:
        Rates, errors, milliseconds; and of the sidecar CPU per 1000 requests/s and memory in megabytes.
    """
    told = {
        "reached": round(found.reached, 1),
        "saturated": found.saturated,
        "errors": found.errors,
        **{f"p{percent:g}": round(found.percentile(percent), 3) for percent in PERCENTILES},
    }
    if before is not None and after is not None:
        used = max(0.0, after.cpu - before.cpu - idle * (after.at - before.at))
        told["vcpu_per_1000rps"] = round(used / found.requests * 1000, 4)
        told["idle_cores"] = round(idle, 4)
        told["memory_mb"] = round(after.memory / MEGA, 1)
    return told


def _medians(single: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [name for name in single[0] if name != "saturated"]
    found: dict[str, Any] = {name: median(each[name] for each in single) for name in numbers}
    return found | {"saturated": any(each["saturated"] for each in single)}


def sidecar_use(client: PrometheusClient, app: str, moment: float, clock: Clock | None = None) -> Use:
    """Read what the sidecar of a server has used by a moment, once the kubelet has read it after that.

    Args:
        client: Asks Prometheus.
        app: The server's Deployment, with one pod.
        moment: Seconds since the epoch.
        clock: Of the wait; the real one where not given.

    Returns:
        It.

    Raises:
        WaitTimeout: Nothing was read after that.
        QueryError: Prometheus refuses a query.
    """
    which = f'{{namespace="default",container="istio-proxy",pod=~"{app}-[a-z0-9]+-[a-z0-9]+"}}'

    def newest(metric: str) -> tuple[float, float]:
        series = client.range_samples(f"{metric}{which}", 120)
        points = [point for each in series for point in each.points]
        return max(points, default=(0.0, 0.0))

    def look() -> Use:
        at, cpu = newest("container_cpu_usage_seconds_total")
        _, memory = newest("container_memory_working_set_bytes")
        return Use(cpu, memory, at)

    return wait(
        f"what the sidecar of {app} has used",
        look,
        ready=lambda use: use.at > moment,
        describe=lambda use: f"read at {use.at:.0f}, needed after {moment:.0f}",
        timeout=90,
        delay=2,
        remedy="Prometheus must scrape cAdvisor (the kubelets' /metrics/cadvisor), as Istio's addon does",
        clock=clock,
    )


def cost_table(rows: list[Mapping[str, Any]], published: Mapping[str, Any]) -> list[str]:
    """Write what was measured as lines of a Markdown table, Istio's figures below.

    Args:
        rows: Of `mesh_cost`.
        published: Istio's figures.

    Returns:
        The lines.
    """
    head = ["load", "pair", "reached", "errors", *(f"p{percent:g} ms" for percent in PERCENTILES)]
    head += ["vCPU per 1000 requests/s", "MB"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for each in rows:
        load = "closed loop" if each["rate"] is None else f"{each['rate']:g}/s"
        cells = [
            load,
            each["kind"],
            f"{each['reached']:.4g}/s" + (" (saturated)" if each["saturated"] else ""),
        ]
        cells += [f"{each['errors']:g}", *(f"{each[f'p{percent:g}']:.3g}" for percent in PERCENTILES)]
        cells += [f"{each[name]:.3g}" if name in each else "" for name in ("vcpu_per_1000rps", "memory_mb")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Istio {published['istio']} publishes {published['vcpu_per_1000rps']:.2f} vCPU per 1000 requests/s and "
        f"{published['memory_mb']} MB for one sidecar with two worker threads.",
    ]
    return lines
