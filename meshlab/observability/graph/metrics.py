"""The service graph as metrics tell it: who called whom since the load phase began.

An edge is there because its raw counter rose since the phase's baseline. So an edge of a workload that was
deleted earlier, whose counter stands in its callers' proxies for good, does not count.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from meshlab.core.waiting import Clock, wait
from meshlab.observability.addons.query import PrometheusClient, Sample, SeriesKey, key_of
from meshlab.observability.addons.scraping import USUAL, Scraping
from meshlab.observability.graph.edges import NO_VERSION, UNKNOWN, Edge, Key, drawn, wait_for
from meshlab.report.material import GraphEdge, GraphNode, ServiceGraph

REQUESTS = "istio_requests_total"
# Counted when a connection closes. The embedded distribution has no counter of opened ones.
CONNECTIONS = "istio_tcp_connections_closed_total"
BUCKETS = "istio_request_duration_milliseconds_bucket"
QUANTILE = 0.95
PAIR = "source_workload,source_workload_namespace,destination_workload,destination_workload_namespace"


@dataclass(frozen=True)
class Baseline:
    """The raw counters of a namespace's traffic at the begin of a load phase.

    at: Prometheus's time, seconds since the epoch. scraped: the mean time of the scrapes that the counters
    come from. counters: labels of a series → value.
    """

    namespace: str
    at: float
    scraped: float
    counters: Mapping[SeriesKey, float]


@dataclass(frozen=True)
class EdgeCount:
    """What was counted between two workloads since the baseline.

    protocol: http, grpc or tcp. requests: by reporter (tcp: connections). errors: of the requests as
    `told_by` counts them, see `is_error`. policies: what the destination says of the connection's security
    (mutual_tls, none) → requests. p95_ms: None where nothing was measured.
    """

    source: GraphNode
    target: GraphNode
    protocol: str
    requests: Mapping[str, float]
    errors: float = 0.0
    policies: Mapping[str, float] = field(default_factory=dict)
    p95_ms: float | None = None

    @property
    def told_by(self) -> str:
        """The reporter whose numbers are used: the caller, where it has a sidecar."""
        return "source" if self.requests.get("source") else "destination"

    @property
    def count(self) -> float:
        """Requests, or connections, as `told_by` counts them."""
        return self.requests.get(self.told_by, 0.0)

    @property
    def mtls(self) -> bool | None:
        """Whether all of it was mutual TLS; None where it is not known, or mixed."""
        seen = {policy for policy, count in self.policies.items() if count > 0}
        return {frozenset({"mutual_tls"}): True, frozenset({"none"}): False}.get(frozenset(seen))


@dataclass(frozen=True)
class MetricGraph:
    """The edges that were counted from `since` on (Prometheus's time, seconds since the epoch).

    seconds: between the scrapes that the counters come from, at the begin and at the end.
    """

    namespace: str
    since: float
    seconds: float
    edges: tuple[EdgeCount, ...]

    def drawn(self, title: str = "Service graph") -> ServiceGraph:
        """The graph as the report draws it."""
        seconds = max(self.seconds, 1.0)
        edges = [
            GraphEdge(
                edge.source.key,
                edge.target.key,
                edge.protocol,
                rate_rps=edge.count / seconds,
                error_percent=None if edge.protocol == "tcp" else 100 * edge.errors / edge.count,
                p95_ms=edge.p95_ms,
                mtls=edge.mtls,
            )
            for edge in self.edges
        ]
        nodes = [node for edge in self.edges for node in (edge.source, edge.target)]
        return drawn(title, nodes, edges, source="Prometheus")

    def reporters(self) -> dict[Edge, set[str]]:
        """Edge, whatever its protocol → who counted it."""
        found: dict[Edge, set[str]] = defaultdict(set)
        for edge in self.edges:
            found[edge.source.key, edge.target.key] |= {who for who, n in edge.requests.items() if n > 0}
        return dict(found)


def take_baseline(
    client: PrometheusClient,
    namespace: str,
    *,
    scraping: Scraping = USUAL,
    timeout: float = 60,
    clock: Clock | None = None,
) -> Baseline:
    """Read what the namespace's proxies have counted so far, once each was scraped after this was called.

    Without that wait, the last requests of an earlier phase would count for this one.

    Args:
        client: Asks Prometheus.
        namespace: Of the application.
        scraping: How its pods are scraped.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        The counters.

    Raises:
        WaitTimeout: A pod is not scraped; its text names it.
        QueryError: Prometheus refuses a query.
    """
    await_scrapes(client, namespace, scraping=scraping, timeout=timeout, clock=clock)
    at, scraped = _times(client, scraping.up(namespace))
    counters = {key_of(each.labels): each.value for each in _counters(client, namespace)}
    return Baseline(namespace, at, scraped, counters)


def read_graph(client: PrometheusClient, baseline: Baseline, scraping: Scraping = USUAL) -> MetricGraph:
    """The graph of what was counted since the baseline, as far as it is scraped by now. Raises QueryError."""
    now, scraped = _times(client, scraping.up(baseline.namespace))
    risen = increases(_counters(client, baseline.namespace), baseline.counters)
    quantiles = _quantiles(client, baseline.namespace, max(math.ceil(now - baseline.at), 1))
    seconds = scraped - baseline.scraped
    return MetricGraph(baseline.namespace, baseline.at, seconds, build_edges(risen, quantiles))


def read_last(client: PrometheusClient, namespace: str, seconds: float) -> MetricGraph:
    """Read the graph of what was counted in the last seconds; nothing is awaited.

    Args:
        client: Asks Prometheus.
        namespace: Of the application.
        seconds: How far back.

    Returns:
        The graph; without edges where nothing was counted.

    Raises:
        QueryError: Prometheus can't be asked, or refuses a query.
    """
    at = client.query("time()")[0].value - seconds
    _, scraped = _times(client, USUAL.up(namespace), at)
    counters = {key_of(each.labels): each.value for each in _counters(client, namespace, at)}
    return read_graph(client, Baseline(namespace, at, scraped, counters))


def await_scrapes(
    client: PrometheusClient,
    namespace: str,
    *,
    scraping: Scraping = USUAL,
    timeout: float = 60,
    clock: Clock | None = None,
) -> None:
    """Wait until every pod of the namespace that is a living target was scraped after now.

    Raises WaitTimeout naming the others (or saying that there is no target at all), QueryError.
    """
    since = client.query("time()")[0].value
    selector = scraping.up(namespace)

    def late() -> list[str] | None:
        at = client.query("time()")[0].value
        living = [each.labels for each in client.query(selector, at=at)]
        series = client.range_samples(selector, max(at - since, 1.0), at=at)
        fresh = [each.labels for each in series if any(when > since for when, _ in each.points)]
        # An old target of a pod that is gone goes stale by itself, and is not among the living then.
        return [labels.get(scraping.pod, "?") for labels in living if labels not in fresh] if living else None

    wait(
        f"a scrape of every pod of {namespace}",
        late,
        ready=lambda pods: pods == [],
        describe=lambda pods: f"not yet: {', '.join(pods)}" if pods else "there is no target in it",
        timeout=timeout,
        clock=clock,
        remedy="look at Prometheus's targets (check prometheus.targets)",
    )


def wait_for_edges(
    client: PrometheusClient,
    baseline: Baseline,
    expected: Iterable[Edge],
    *,
    scraping: Scraping = USUAL,
    timeout: float = 60,
    clock: Clock | None = None,
) -> MetricGraph:
    """Read the graph until each expected edge was counted by both its ends, or the time is over.

    The load must go on meanwhile.

    Args:
        client: Asks Prometheus.
        baseline: What had been counted before.
        expected: Edges: (caller, called).
        scraping: How the pods are scraped.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        What was there at the end, to be judged: that an edge is missing is a finding.

    Raises:
        WaitTimeout: Prometheus did not answer at the end.
    """
    wanted = set(expected)

    def missing(graph: MetricGraph) -> int:
        seen = graph.reporters()
        return sum(seen.get(edge, set()) != set(scraping.reporters) for edge in wanted)

    return wait_for(
        "the service graph",
        lambda: read_graph(client, baseline, scraping),
        missing,
        len(wanted),
        timeout=timeout,
        clock=clock,
        remedy="look at Prometheus's pod and its log",
    )


def increases(now: Sequence[Sample], before: Mapping[SeriesKey, float]) -> list[Sample]:
    """The series that rose, with how far. One that is new, or was reset since, rose from 0."""
    risen = []
    for each in now:
        old = before.get(key_of(each.labels), 0.0)
        rise = each.value - old if each.value >= old else each.value
        if rise > 0:
            risen.append(Sample(each.labels, rise, each.time))
    return risen


def build_edges(
    risen: Sequence[Sample], quantiles: Mapping[tuple[str, Key, Key], float]
) -> tuple[EdgeCount, ...]:
    """Sum counters to edges, sorted. quantiles: (reporter, source, target) → 95th percentile in ms."""
    grouped: dict[tuple[Key, Key, str], list[Sample]] = defaultdict(list)
    nodes: dict[Key, GraphNode] = {}
    for each in risen:
        source, target = _node(each.labels, "source"), _node(each.labels, "destination")
        for node in (source, target):
            known = nodes.get(node.key)
            nodes[node.key] = node if known is None or not known.app else known
        grouped[source.key, target.key, protocol_of(each.labels)].append(each)
    edges = []
    for (source_key, target_key, protocol), samples in sorted(grouped.items()):
        requests: dict[str, float] = defaultdict(float)
        errors: dict[str, float] = defaultdict(float)
        policies: dict[str, float] = defaultdict(float)
        for each in samples:
            reporter = each.labels.get("reporter", UNKNOWN)
            requests[reporter] += each.value
            errors[reporter] += each.value if is_error(each.labels) else 0.0
            if reporter == "destination":
                policies[each.labels.get("connection_security_policy", UNKNOWN)] += each.value
        edge = EdgeCount(
            nodes[source_key], nodes[target_key], protocol, dict(requests), policies=dict(policies)
        )
        p95 = quantiles.get((edge.told_by, source_key, target_key)) if protocol != "tcp" else None
        edges.append(replace(edge, errors=errors[edge.told_by], p95_ms=p95))
    return tuple(edges)


def protocol_of(labels: Mapping[str, str]) -> str:
    """http, grpc or tcp."""
    if labels.get("__name__", "").startswith("istio_tcp"):
        return "tcp"
    return labels.get("request_protocol") or "http"


def is_error(labels: Mapping[str, str]) -> bool:
    """Whether what a series counts are errors, as Kiali sees it: HTTP 4xx, 5xx or no answer; gRPC not OK."""
    if protocol_of(labels) == "tcp":
        return False
    grpc = labels.get("grpc_response_status", "")
    if protocol_of(labels) == "grpc" and grpc not in ("", "-"):
        return grpc != "0"
    code = labels.get("response_code", "")
    return code[:1] in ("0", "4", "5") or code == "-"


def _counters(client: PrometheusClient, namespace: str, at: float | None = None) -> list[Sample]:
    """Every raw counter of requests or connections that begin or end in the namespace."""
    found: dict[SeriesKey, Sample] = {}
    for metric in (REQUESTS, CONNECTIONS):
        for side in ("source_workload_namespace", "destination_workload_namespace"):
            for each in client.query(f'{metric}{{{side}="{namespace}"}}', at=at):
                found[key_of(each.labels)] = each
    return list(found.values())


def _times(client: PrometheusClient, up: str, at: float | None = None) -> tuple[float, float]:
    """Prometheus's time (or `at`), and the mean time of the last scrapes by then of pods that a selector of `up` names."""
    now = client.query("time()", at=at)[0].value
    scraped = client.query(f"avg(timestamp({up}))", at=at)
    return now, scraped[0].value if scraped else now


def _quantiles(client: PrometheusClient, namespace: str, seconds: int) -> dict[tuple[str, Key, Key], float]:
    """(reporter, source, target) → 95th percentile of the request duration in the last seconds, in ms."""
    found = {}
    for side in ("source_workload_namespace", "destination_workload_namespace"):
        buckets = f'{BUCKETS}{{{side}="{namespace}"}}'
        # As the counters: what rose since then, and all of a series that is new. rate() needs two scrapes.
        risen = f"({buckets} - {buckets} offset {seconds}s) or {buckets}"
        for each in client.query(f"histogram_quantile({QUANTILE}, sum by (le,reporter,{PAIR}) ({risen}))"):
            if math.isfinite(each.value):
                labels = each.labels
                ends = _node(labels, "source").key, _node(labels, "destination").key
                found[labels.get("reporter", UNKNOWN), *ends] = each.value
    return found


def _node(labels: Mapping[str, str], side: str) -> GraphNode:
    def label(name: str) -> str:
        value = labels.get(f"{side}_{name}", "")
        return "" if value == UNKNOWN else value

    revision = label("canonical_revision") or label("version")
    return GraphNode(
        workload=label("workload") or UNKNOWN,
        app=label("canonical_service") or label("app"),
        version=revision if revision != NO_VERSION else "",
        namespace=label("workload_namespace") or UNKNOWN,
    )
