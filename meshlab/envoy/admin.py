"""Pages that istiod and the proxies serve on their own loopback, read through port-forwards.

Port-forwards work with every proxy image; a distroless one has no curl.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from meshlab.core.address import host_port
from meshlab.core.errors import QueryError
from meshlab.core.http import Getter
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward

PROXY_PORT = 15000  # Envoy's administration
STATS_PORT, STATS_PATH = 15090, "/stats/prometheus"  # where Prometheus scrapes a sidecar
ISTIOD_PORT = 8080  # istiod's debug pages: plain HTTP, unrestricted for callers on its loopback
TIMEOUT = 15.0  # seconds for a whole page


class Pages(Protocol):
    """Where pages come from."""

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        """Get the JSON of a page of a pod.

        Args:
            namespace: Of the application.
            pod: Its name.
            port: Of the pod.
            path: Of the page.
            params: The query's.

        Returns:
            The document.

        Raises:
            QueryError: There is no answer, or no JSON; trying again may help.
            KubeError: The API server does not reach the pod.
        """


class PodPages:
    """Keeps one port-forward per pod and port open. A context manager, safe for several threads."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str, int], tuple[PortForward, Getter]] = {}

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        """Get the JSON of a page of a pod.

        Args:
            namespace: Of the application.
            pod: Its name.
            port: Of the pod.
            path: Of the page.
            params: The query's.

        Returns:
            The document.

        Raises:
            QueryError: There is no answer, or no JSON; trying again may help.
            KubeError: The API server does not reach the pod.
        """
        return self.of(namespace, pod, port).json(path, params)

    def of(self, namespace: str, pod: str, port: int = PROXY_PORT) -> Getter:
        """Give what asks a port of a pod.

        Args:
            namespace: Of the pod.
            pod: Its name.
            port: Of the pod; that of Envoy's administration where not given.

        Returns:
            What asks it; it serves as long as these pages are open.

        Raises:
            KubeError: The API server does not reach the pod.
        """
        key = (namespace, pod, port)
        with self._lock:
            if key not in self._open:
                forward = PortForward(self._kube, namespace=namespace, pod=pod, port=port).open()
                self._open[key] = (forward, getter_of(forward))
            return self._open[key][1]

    def close(self) -> None:
        """End every port-forward."""
        with self._lock:
            forwards = [forward for forward, _ in self._open.values()]
            self._open.clear()
        # Closing one waits for its threads; closed together they wait at the same time.
        with ThreadPoolExecutor(max_workers=max(len(forwards), 1)) as pool:
            list(pool.map(PortForward.close, forwards))

    def __enter__(self) -> PodPages:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def getter_of(forward: PortForward) -> Getter:
    """What asks the port to which an open port-forward leads."""
    return Getter(
        forward.url,
        timeout=TIMEOUT,
        name=forward.target,
        remedy="look at the pod and its log; reading it needs the permission to port-forward",
        why=lambda: forward.last_error.message if forward.last_error else "",
    )


@dataclass(frozen=True)
class Attempts:
    """Requests that a proxy sent to one endpoint of a cluster, retries included, as its Envoy counts them per host.

    total: streams opened to the endpoint. success: answered below 500. error: answered 500 and up, or failed on
    the way.
    """

    cluster: str
    endpoint: str
    total: int
    success: int
    error: int


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a cluster. healthy: whether it may get requests now."""

    attempts: Attempts
    healthy: bool


def stats_query(pattern: str) -> dict[str, str | int]:
    """The query of /stats for the counters and gauges whose name matches a regular expression."""
    return {"filter": pattern, "format": "json"}


def read_stats(document: Any) -> dict[str, int]:
    """Name → value of the counters and gauges in the answer to `stats_query`. Raises QueryError for another form."""
    with reading("/stats"):
        return {each["name"]: int(each["value"]) for each in document["stats"] if "value" in each}


def read_stat(proxy: Getter, name: str) -> int:
    """Ask a proxy for one counter or gauge.

    Args:
        proxy: What asks it.
        name: The full name.

    Returns:
        Its value.

    Raises:
        QueryError: The proxy does not answer, or does not tell it: that is not the same as 0.
    """
    found = read_stats(proxy.json("/stats", stats_query(f"^{name}$")))
    if name not in found:
        raise QueryError(
            f"{proxy.name} does not tell {name}, only {found}",
            remedy="look at its statistics: pilot-agent request GET stats",
            retryable=False,
        )
    return found[name]


CLUSTERS_PATH, CLUSTERS_QUERY = "/clusters", {"format": "json"}


def read_clusters(document: Any) -> dict[str, tuple[Endpoint, ...]]:
    """Cluster → its endpoints, in the answer of /clusters. Raises QueryError for another form.

    These counters exist in every Envoy, whatever the mesh lets it export.
    """
    with reading(CLUSTERS_PATH):
        return {
            each["name"]: tuple(_endpoint(each["name"], host) for host in each.get("host_statuses", []))
            for each in document["cluster_statuses"]
        }


def service_of(cluster: str) -> str:
    """The service's host in the name of an outbound cluster, empty for others.

    All ports and subsets of a service have clusters of their own: `outbound|9080||details.default.svc…`.
    """
    parts = cluster.split("|")
    return parts[3] if len(parts) == 4 and parts[0] == "outbound" else ""


def read_address(address: Mapping[str, Any]) -> str:
    """An address in Envoy's form as host:port; of a pipe, its path."""
    if "socket_address" in address:
        return host_port(address["socket_address"]["address"], address["socket_address"]["port_value"])
    return str(next(iter(address.values()), "?"))


def _endpoint(cluster: str, host: Mapping[str, Any]) -> Endpoint:
    stats = {each["name"]: int(each.get("value", 0)) for each in host.get("stats", [])}
    health = host.get("health_status", {})
    # Envoy leaves a failed_… flag out while it is false; the state from istiod is HEALTHY or UNKNOWN.
    ejected = any(name.startswith("failed_") and value for name, value in health.items())
    attempts = Attempts(
        cluster=cluster,
        endpoint=read_address(host.get("address", {})),
        total=stats.get("rq_total", 0),
        success=stats.get("rq_success", 0),
        error=stats.get("rq_error", 0),
    )
    eds = health.get("eds_health_status", "HEALTHY")
    return Endpoint(attempts, healthy=not ejected and eds in ("HEALTHY", "UNKNOWN"))


@contextmanager
def reading(page: str) -> Iterator[None]:
    """Turn what a page of another form raises, while it is read, into a QueryError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise QueryError(
            f"the proxy's page {page} is none of Envoy's: {problem!r}",
            remedy="look at the page in the evidence folder, or through a port-forward to port 15000",
        ) from problem
