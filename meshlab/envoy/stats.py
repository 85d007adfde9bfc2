"""What a sidecar counts, read from the sidecar itself: its scrape endpoint and its admin page of clusters.

Both are read through a port-forward to the pod, because that works with every proxy image (distroless has
no curl). Port 15090 is what `kubectl exec POD -c istio-proxy -- curl localhost:15090/stats/prometheus` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from meshlab.core.address import host_port
from meshlab.core.errors import QueryError
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward

STATS_PORT, STATS_PATH = 15090, "/stats/prometheus"
ADMIN_PORT, CLUSTERS_PATH = 15000, "/clusters?format=json"
REQUESTS = "istio_requests_total"
EMBEDDED_PREFIX = (
    "envoy_"  # Envoy's own exporter puts it before each name, Istio's metric filter has it taken off
)


@dataclass(frozen=True)
class Sample:
    """One counter of a sidecar in Istio's standard form. family: the name under which the sidecar exported
    it."""

    name: str
    labels: Mapping[str, str]
    value: float
    family: str

    def get(self, label: str) -> str:
        """A label's value, empty when the sample does not have it."""
        return self.labels.get(label, "")

    @property
    def series(self) -> str:
        """Name and labels in Prometheus's notation, labels sorted: what tells this series from others."""
        inner = ",".join(f'{key}="{value}"' for key, value in sorted(self.labels.items()))
        return f"{self.name}{{{inner}}}"


@dataclass(frozen=True)
class Attempts:
    """Requests that a sidecar sent to one endpoint of a service, retries included, as its Envoy counts
    them per host.

    total: streams opened to the endpoint. success: answered below 500. error: answered 500 and up, or
    failed on the way.
    """

    cluster: str
    endpoint: str
    total: int
    success: int
    error: int


def parse_stats(text: str, names: Iterable[str] = (REQUESTS,)) -> tuple[Sample, ...]:
    """Read some metrics from an answer of /stats/prometheus, in Istio's standard form.

    Both exporters' forms are read: `istio_requests_total` of Istio's own proxy, and
    `envoy_istio_requests_total` of the embedded distribution, whose peer labels are split as its Prometheus
    relabelling does.

    Args:
        text: The answer.
        names: The metrics' standard names.

    Returns:
        The samples.

    Raises:
        QueryError: The text is no exposition.
    """
    wanted = tuple(prefix + name for name in names for prefix in ("", EMBEDDED_PREFIX))
    lines = [line for line in text.splitlines() if line.startswith(wanted)]
    try:
        families = list(text_string_to_metric_families("\n".join(lines) + "\n"))
    except ValueError as problem:
        raise QueryError(
            f"a sidecar's statistics can't be parsed: {problem}",
            remedy="look at the raw answer in the evidence folder",
        ) from problem
    return tuple(
        Sample(
            name=sample.name.removeprefix(EMBEDDED_PREFIX),
            labels=standard_labels(sample.labels),
            value=float(sample.value),
            family=sample.name,
        )
        for family in families
        for sample in family.samples
    )


def standard_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels in Istio's standard form: `source_peer` and `destination_peer` (workload;namespace;canonical
    name; revision;cluster) become the labels that Istio's metrics have. An empty field gives no label.
    """
    plain = {key: value for key, value in labels.items() if key not in ("source_peer", "destination_peer")}
    for side in ("source", "destination"):
        fields = labels.get(f"{side}_peer", "").split(";")
        if len(fields) != 5:
            continue
        workload, namespace, canonical, revision, cluster = fields
        split = {
            f"{side}_workload": workload,
            f"{side}_workload_namespace": namespace,
            f"{side}_canonical_service": canonical,
            f"{side}_app": canonical,
            f"{side}_canonical_revision": revision,
            f"{side}_version": revision,
            f"{side}_cluster": cluster,
        }
        plain |= {key: value for key, value in split.items() if value}
    return plain


def parse_clusters(document: Mapping[str, Any], service: str) -> tuple[Attempts, ...]:
    """The attempts at a service (its host name, `productpage.default.svc.cluster.local`) in the answer of
    /clusters.

    These counters exist in every Envoy, whatever the mesh lets it export. All ports and subsets of the
    service count.
    """
    found = []
    for cluster in document.get("cluster_statuses", []):
        parts = cluster.get("name", "").split("|")
        if len(parts) != 4 or parts[0] != "outbound" or parts[3] != service:
            continue
        for host in cluster.get("host_statuses", []):
            stats = {each["name"]: int(each.get("value", 0)) for each in host.get("stats", [])}
            found.append(
                Attempts(
                    cluster=cluster["name"],
                    endpoint=_address(host.get("address", {})),
                    total=stats.get("rq_total", 0),
                    success=stats.get("rq_success", 0),
                    error=stats.get("rq_error", 0),
                )
            )
    return tuple(found)


def families(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The names under which the sidecar exported them."""
    return tuple(sorted({sample.family for sample in samples}))


def _address(address: Mapping[str, Any]) -> str:
    socket = address.get("socket_address", {})
    return host_port(socket.get("address", "?"), socket.get("port_value", "?"))


class SidecarReader:
    """Reads sidecars of one namespace through port-forwards that it keeps open. A context manager, for one
    thread.

    Raises QueryError (retryable) when a sidecar does not answer, KubeError when the pod can't be reached
    at all.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._forwards: dict[tuple[str, int], PortForward] = {}

    def __enter__(self) -> SidecarReader:
        return self

    def __exit__(self, *error: object) -> None:
        # Closing one waits for its threads; closed together they wait at the same time.
        with ThreadPoolExecutor(max_workers=max(len(self._forwards), 1)) as pool:
            list(pool.map(PortForward.close, self._forwards.values()))
        self._forwards.clear()

    def stats(self, pod: str, names: Iterable[str] = (REQUESTS,)) -> tuple[Sample, ...]:
        """Read what a pod's sidecar counts, in Istio's standard form.

        Args:
            pod: Its name.
            names: The metrics' standard names.

        Returns:
            The samples.
        """
        return parse_stats(self.stats_text(pod), names)

    def stats_text(self, pod: str) -> str:
        """The whole answer of the pod's scrape endpoint."""
        return fetch(self._url(pod, STATS_PORT) + STATS_PATH).text

    def attempts(self, pod: str, service: str) -> tuple[Attempts, ...]:
        """Read the attempts that a pod's sidecar made at a service.

        Args:
            pod: Its name.
            service: Its name.

        Returns:
            One entry for each endpoint.

        Raises:
            QueryError: The answer has another form.
        """
        answer = fetch(self._url(pod, ADMIN_PORT) + CLUSTERS_PATH)
        try:
            return parse_clusters(answer.json(), service)
        except requests.JSONDecodeError as problem:
            raise QueryError(f"the clusters page of {pod} is no JSON: {problem}") from problem

    def _url(self, pod: str, port: int) -> str:
        if (pod, port) not in self._forwards:
            forward = PortForward(self._kube, namespace=self._namespace, port=port, pod=pod)
            self._forwards[pod, port] = forward.open()
        return self._forwards[pod, port].url


def fetch(url: str, timeout: float = 15) -> requests.Response:
    """Get a page of a sidecar.

    Args:
        url: The page.
        timeout: Seconds, at most.

    Returns:
        The answer, with status 200.

    Raises:
        QueryError: There is no answer, or one with another status than 200.
    """
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment can't reach a port-forward
            answer = session.get(url, timeout=timeout)
    except requests.RequestException as problem:
        raise QueryError(
            f"a sidecar did not answer {url}: {problem}",
            remedy="look at the pod's istio-proxy container and its log",
        ) from problem
    if answer.status_code != 200:
        raise QueryError(
            f"a sidecar answered {url} with {answer.status_code}: {answer.text[:200]}",
            remedy="look at the pod's istio-proxy container and its log",
        )
    return answer
