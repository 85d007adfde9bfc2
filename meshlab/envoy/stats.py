"""What a sidecar counts, read from the sidecar itself: its scrape endpoint and its admin page of clusters.

Port 15090 is what `kubectl exec POD -c istio-proxy -- curl localhost:15090/stats/prometheus` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from meshlab.core.errors import QueryError
from meshlab.envoy.admin import (
    CLUSTERS_PATH,
    CLUSTERS_QUERY,
    STATS_PATH,
    STATS_PORT,
    Attempts,
    Endpoint,
    PodPages,
    read_clusters,
    service_of,
)
from meshlab.kube.client import Kube

REQUESTS = "istio_requests_total"
EMBEDDED_PREFIX = (
    "envoy_"  # Envoy's own exporter puts it before each name, Istio's metric filter has it taken off
)


@dataclass(frozen=True)
class Sample:
    """One counter of a sidecar in Istio's standard form.

    family: the name under which the sidecar exported it.
    """

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
    """Labels in Istio's standard form.

    `source_peer` and `destination_peer` (workload;namespace;canonical name;revision;cluster) become the labels that
    Istio's metrics have. An empty field gives no label.
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


def families(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The names under which the sidecar exported them."""
    return tuple(sorted({sample.family for sample in samples}))


class SidecarReader:
    """Reads sidecars of one namespace through port-forwards that it keeps open. A context manager.

    Raises QueryError (retryable) when a sidecar does not answer, KubeError when the pod can't be reached
    at all.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._pages = PodPages(kube)
        self._namespace = namespace

    def __enter__(self) -> SidecarReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._pages.close()

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
        return self._pages.of(self._namespace, pod, STATS_PORT).text(STATS_PATH)

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
        document = self._pages.of(self._namespace, pod).json(CLUSTERS_PATH, CLUSTERS_QUERY)
        return attempts_at(read_clusters(document), service)


def attempts_at(clusters: Mapping[str, Sequence[Endpoint]], service: str) -> tuple[Attempts, ...]:
    """The attempts at a service (its host name, `productpage.default.svc.cluster.local`), all its ports and subsets."""
    return tuple(
        each.attempts for name, hosts in clusters.items() if service_of(name) == service for each in hosts
    )
