"""What the sidecars use, from cAdvisor's metrics in Prometheus, per 1000 requests/s that pass a sidecar.

A request between two sidecars passes both and counts twice, as in Istio's own performance figures. At the lab's few
requests per second most of what is used is what an idle proxy uses: the numbers compare nights, not meshes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshlab.core.waiting import Clock, wait
from meshlab.observability.addons.query import PrometheusClient
from meshlab.run.results import Measure

WINDOW = "60s"
MEBI = 2.0**20


@dataclass(frozen=True)
class ProxyUsage:
    """cpu_cores, memory_bytes: of all sidecars together. passes: requests per second that passed a sidecar."""

    proxies: int
    cpu_cores: float
    memory_bytes: float
    passes: float

    def measures(self) -> list[Measure]:
        """`proxy-cpu-per-1000rps` (cores), `proxy-memory` (MiB of one sidecar) and `proxy-memory-per-1000rps`."""
        return [
            Measure("proxy-cpu-per-1000rps", round(self.cpu_cores / self.passes * 1000, 4), "cores"),
            Measure("proxy-memory", round(self.memory_bytes / self.proxies / MEBI, 2), "MiB"),
            Measure(
                "proxy-memory-per-1000rps", round(self.memory_bytes / self.passes * 1000 / MEBI, 1), "MiB"
            ),
            Measure("proxy-passes", round(self.passes, 3), "requests/s"),
        ]


def read_usage(
    client: PrometheusClient,
    namespace: str,
    pods: Iterable[str],
    *,
    timeout: float = 30,
    clock: Clock | None = None,
) -> ProxyUsage:
    """Read what the sidecars used over the last minute, while load flows.

    cAdvisor dates its samples itself, so Prometheus marks none as stale: for five minutes it answers with
    pods that are gone, those of the night before among them.

    Args:
        client: Asks Prometheus.
        namespace: Of the application.
        pods: Names of those that run.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        The use.

    Raises:
        WaitTimeout: Something has no data; its text names it.
        QueryError: Prometheus refuses a query.
    """
    those = "|".join(sorted(pods))
    of_proxy = f'namespace="{namespace}",container="istio-proxy",pod=~"{those}"'
    queries = {
        "proxies": f"count(container_memory_working_set_bytes{{{of_proxy}}})",
        "memory_bytes": f"sum(container_memory_working_set_bytes{{{of_proxy}}})",
        "cpu_cores": f"sum(rate(container_cpu_usage_seconds_total{{{of_proxy}}}[{WINDOW}]))",
        "passes": (
            f'sum(rate(istio_requests_total{{reporter="source",source_workload_namespace="{namespace}"}}[{WINDOW}]))'
            f' + sum(rate(istio_requests_total{{reporter="destination",'
            f'destination_workload_namespace="{namespace}"}}[{WINDOW}]))'
        ),
    }

    def read() -> dict[str, float]:
        answers = {name: client.query(query) for name, query in queries.items()}
        return {name: answer[0].value if answer else 0.0 for name, answer in answers.items()}

    found = wait(
        "the sidecars' CPU and memory in Prometheus",
        read,
        ready=lambda values: all(value > 0 for value in values.values()),
        describe=lambda values: ", ".join(f"{name} {value:g}" for name, value in values.items()),
        timeout=timeout,
        remedy="Prometheus must scrape cAdvisor (the kubelets' /metrics/cadvisor), as Istio's addon does",
        clock=clock,
    )
    return ProxyUsage(int(found["proxies"]), found["cpu_cores"], found["memory_bytes"], found["passes"])
