"""The service graph as traces tell it: which workload called which, from the proxies' spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from meshlab.app.bookinfo import WORKLOADS
from meshlab.app.latency import percentile
from meshlab.core.waiting import Clock
from meshlab.observability.addons.jaeger_client import Dependency, JaegerClient
from meshlab.observability.graph.edges import NO_VERSION, Edge, Key, drawn, wait_for
from meshlab.report.material import GraphEdge, GraphNode, ServiceGraph, Span, Trace

# Tags that Istio gives every span of a proxy (pilot/pkg/networking/core/tracing.go).
SERVICE_TAG, REVISION_TAG, NAMESPACE_TAG = (
    "istio.canonical_service",
    "istio.canonical_revision",
    "istio.namespace",
)
LIMIT = 200  # traces of each service
# (canonical service, canonical revision) → workload: spans tell no workload's name.
NAMES: Mapping[tuple[str, str], str] = {
    (each.app, each.version or NO_VERSION): each.name for each in WORKLOADS
}


@dataclass(frozen=True)
class Calls:
    """The calls of one edge. durations: in ms, as the caller saw them where its span is there."""

    source: GraphNode
    target: GraphNode
    durations: tuple[float, ...]
    errors: int
    protocol: str = "http"


@dataclass(frozen=True)
class TraceGraph:
    """The edges in the traces that began since a time.

    dependencies: calls between services, as Jaeger computes them.
    """

    namespace: str
    since: float
    traces: int
    calls: Mapping[Edge, Calls]
    dependencies: tuple[Dependency, ...] = field(default=())

    def drawn(self, title: str = "Service graph from traces") -> ServiceGraph:
        """The graph as the report draws it. Rates are not drawn: only so many traces were fetched."""
        nodes = [node for each in self.calls.values() for node in (each.source, each.target)]
        edges = [
            GraphEdge(
                source,
                target,
                each.protocol,
                error_percent=100 * each.errors / len(each.durations),
                p95_ms=percentile(sorted(each.durations), 95),
            )
            for (source, target), each in self.calls.items()
        ]
        return drawn(title, nodes, edges, source="Jaeger")


def wait_for_traced_edges(
    client: JaegerClient,
    namespace: str,
    wanted: Iterable[Edge],
    *,
    since: float,
    timeout: float = 60,
    clock: Clock | None = None,
) -> TraceGraph:
    """Read the traces until they hold each wanted edge, or the time is over.

    Spans come in every few seconds, each proxy's on their own.

    Args:
        client: Asks Jaeger.
        namespace: Of the application.
        wanted: Edges: (caller, called).
        since: Seconds since the epoch.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        What was there at the end, to be judged.

    Raises:
        WaitTimeout: Jaeger did not answer at the end.
    """
    edges = set(wanted)

    def missing(graph: TraceGraph) -> int:
        return len(edges - graph.calls.keys()) or int(not _depend(graph, edges))

    return wait_for(
        "the graph in Jaeger's traces",
        lambda: read_graph(client, namespace, since=since),
        missing,
        len(edges),
        timeout=timeout,
        clock=clock,
        remedy="look at Jaeger's pod and its log",
    )


def read_graph(
    client: JaegerClient,
    namespace: str,
    *,
    since: float,
) -> TraceGraph:
    """The graph of every trace that touched a service of the namespace since then. Raises QueryError."""
    traces: dict[str, Trace] = {}
    for service in client.services():
        if service.endswith(f".{namespace}"):
            for trace in client.traces(service, start=since, limit=LIMIT):
                traces.setdefault(trace.trace_id, trace)
    newest = max((trace.spans[0].start_us / 1e6 for trace in traces.values() if trace.spans), default=since)
    # Jaeger counts the spans between the two times; whole milliseconds, so one more second does no harm.
    links = client.dependencies(end=newest + 1, lookback=newest + 1 - since) if traces else ()
    return TraceGraph(namespace, since, len(traces), build_calls(list(traces.values())), links)


def build_calls(traces: Sequence[Trace]) -> dict[Edge, Calls]:
    """Edge → its calls: each span whose nearest ancestor made by a proxy belongs to another workload."""
    found: dict[Edge, list[tuple[float, bool, str]]] = defaultdict(list)
    nodes: dict[Key, GraphNode] = {}
    for trace in traces:
        known = {span.id: span for span in trace.spans}
        for span in trace.spans:
            node = node_of(span)
            parent = _proxy_above(span, known)
            if node is None or parent is None:
                continue
            above = node_of(parent)
            if above is None or (above.key == node.key and not _is_hop(parent, span)):
                continue
            nodes[node.key], nodes[above.key] = node, above
            caller = parent if parent.tags.get("span.kind") == "client" else span
            found[above.key, node.key].append((caller.duration_ms, failed(span), _protocol(span)))
    return {
        (source, target): Calls(
            nodes[source],
            nodes[target],
            tuple(duration for duration, _, _ in calls),
            sum(bad for _, bad, _ in calls),
            calls[0][2],
        )
        for (source, target), calls in found.items()
    }


def node_of(span: Span) -> GraphNode | None:
    """The workload whose proxy made a span; None for a span that no proxy of the mesh made."""
    service, revision = span.tags.get(SERVICE_TAG, ""), span.tags.get(REVISION_TAG, "")
    if not service:
        return None
    version = "" if revision == NO_VERSION else revision
    workload = NAMES.get((service, revision or NO_VERSION)) or "-".join(filter(None, (service, version)))
    return GraphNode(workload, service, version, span.tags.get(NAMESPACE_TAG, ""))


def failed(span: Span) -> bool:
    """Whether a span tells of an error: it says so itself, or its HTTP status is 400 and above."""
    return span.error or (len(span.status) == 3 and span.status[0] in "45")


def service_edges(calls: Iterable[tuple[GraphNode, GraphNode]]) -> set[tuple[str, str]]:
    """Edges between workloads as edges between Jaeger's services (`app.namespace`), none to itself."""
    pairs = {(_service(source), _service(target)) for source, target in calls}
    return {(source, target) for source, target in pairs if source != target}


def _depend(graph: TraceGraph, edges: set[Edge]) -> bool:
    """Whether Jaeger's own dependencies have caught up with the edges."""
    wanted = service_edges((graph.calls[e].source, graph.calls[e].target) for e in edges)
    return wanted <= {(link.parent, link.child) for link in graph.dependencies}


def _service(node: GraphNode) -> str:
    return f"{node.app or node.workload}.{node.namespace}"


def _proxy_above(span: Span, known: Mapping[str, Span]) -> Span | None:
    """The nearest ancestor that a proxy made: applications may add spans of their own in between."""
    seen = {span.id}
    at = known.get(span.parent or "")
    while at is not None and at.id not in seen:
        if SERVICE_TAG in at.tags:
            return at
        seen.add(at.id)
        at = known.get(at.parent or "")
    return None


def _is_hop(parent: Span, span: Span) -> bool:
    """Whether two spans of one workload are the two ends of a call to itself."""
    return (parent.tags.get("span.kind"), span.tags.get("span.kind")) == ("client", "server")


def _protocol(span: Span) -> str:
    return "grpc" if any(name.startswith(("grpc.", "rpc.grpc.")) for name in span.tags) else "http"
