"""The service graph: exactly the edges that the application has, and the same from every source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from meshlab.checks.base import judged
from meshlab.core.text import pluralize
from meshlab.observability.addons.scraping import REPORTERS
from meshlab.observability.graph.edges import Edge, Key
from meshlab.observability.graph.metrics import MetricGraph
from meshlab.observability.graph.traces import TraceGraph, service_edges
from meshlab.report.material import GraphNode, ServiceGraph
from meshlab.run.results import CheckResult, Table

METRICS, TRACES, DEPENDENCIES, KIALI = "Prometheus", "Jaeger", "Jaeger's dependencies", "Kiali"


def expected_edges(pairs: Sequence[tuple[str, str]], namespace: str) -> tuple[Edge, ...]:
    """Make edges within a namespace of pairs of workloads.

    Args:
        pairs: (Caller, called), as meshlab.app.bookinfo.EDGES.
        namespace: Of the application.

    Returns:
        The edges.
    """
    return tuple(((namespace, source), (namespace, target)) for source, target in pairs)


def edges(
    graph: MetricGraph,
    expected: Collection[Edge],
    *,
    others: Collection[Edge] = (),
    reporters: Collection[str] = REPORTERS,
) -> CheckResult:
    """Judge the graph: the application's edges are there, each counted by both its ends, and no other edge is.

    Evidence: `lost`, `extra`, table `edges` (from, to, protocol, by whom counted, errors, p95, mTLS, part).

    Args:
        graph: What was counted since the load phase began.
        expected: The application's edges.
        others: Edges of traffic that the run sends beside the application's (through the gateway, to an
            echo server): they may be there or not, and are told apart.
        reporters: Whose side the Prometheus keeps.

    Returns:
        The check.
    """
    counted = graph.reporters()
    lost = [edge for edge in expected if edge not in counted]
    extra = sorted(counted.keys() - set(expected) - set(others))
    problems = [f"lost edge {_named(edge, graph.namespace)}: nothing was counted" for edge in lost]
    for edge in expected:
        silent = [who for who in reporters if edge in counted and who not in counted[edge]]
        if silent:
            problems.append(f"{_named(edge, graph.namespace)} was not counted by its {silent[0]}")
    problems += [f"extra edge {_named(edge, graph.namespace)}" for edge in extra]
    if not expected:
        problems.append("no edge is expected, so nothing was checked")
    seen = len(expected) - len(lost)
    requests = sum(edge.count for edge in graph.edges if (edge.source.key, edge.target.key) in expected)
    beside = sum(edge in counted for edge in others)
    return judged(
        "graph.edges",
        problems,
        f"{seen} of {len(expected)} expected edges, {requests:.0f} requests since the load phase began, "
        f"{pluralize(len(extra), 'extra edges')}"
        + (f", {beside} edges of the run's other traffic" if beside else ""),
        {
            "edges": edge_table(graph, expected, others),
            "lost": [_named(edge, graph.namespace) for edge in lost],
            "extra": [_named(edge, graph.namespace) for edge in extra],
            "since": graph.since,
        },
        remedy="a lost edge: is its workload there, and does the load reach it? "
        "An extra edge: who calls there? A side that does not count has no sidecar, or is not scraped",
    )


def agreement(
    metrics: MetricGraph,
    traces: TraceGraph,
    *,
    kiali: ServiceGraph | None = None,
    kiali_reason: str = "",
) -> CheckResult:
    """Judge whether metrics and traces (and Kiali, where it runs) tell the same graph; what only some saw is named.

    Compared are HTTP and gRPC edges within the namespace: TCP has no spans, and traffic that comes from
    outside is traced only where its caller is. Jaeger's dependencies are compared service by service.
    Evidence: `sources` (name → edges), table `edges` (from, to, and each source's yes or no),
    `not_compared`.

    Args:
        metrics: The graph from Prometheus.
        traces: The graph from Jaeger.
        kiali: The graph from Kiali, where it runs.
        kiali_reason: Why Kiali is not among the sources.

    Returns:
        The check.
    """
    namespace = metrics.namespace
    nodes = _nodes(metrics, traces)
    counted = {
        (edge.source.key, edge.target.key) for edge in metrics.edges if edge.protocol in ("http", "grpc")
    }
    told: dict[str, set[Edge]] = {METRICS: counted, TRACES: set(traces.calls)}
    if kiali is not None:
        told[KIALI] = {(e.source, e.target) for e in kiali.edges if e.protocol in ("http", "grpc")}
    inside = {name: {edge for edge in found if _is_inside(edge, namespace)} for name, found in told.items()}
    every = sorted(set().union(*inside.values()))
    problems = [
        f"{_named(edge, namespace)} was seen by {_list(inside, edge, True)}, "
        f"not by {_list(inside, edge, False)}"
        for edge in every
        if not all(edge in found for found in inside.values())
    ]
    services = service_edges((nodes[s], nodes[t]) for s, t in every if s in nodes and t in nodes)
    links = {
        (link.parent, link.child)
        for link in traces.dependencies
        if link.parent.endswith(f".{namespace}") and link.child.endswith(f".{namespace}")
    }
    problems += [f"{a} → {b} is not among {DEPENDENCIES}" for a, b in sorted(services - links)]
    problems += [f"{a} → {b} is only among {DEPENDENCIES}" for a, b in sorted(links - services)]
    if not every:
        problems.append("no source saw an edge, so nothing was compared")
    left = {name: sorted(_named(e, namespace) for e in told[name] - inside[name]) for name in told}
    return judged(
        "graph.agreement",
        problems,
        f"{len(inside)} sources and {DEPENDENCIES} agree on {len(every)} edges between workloads, "
        f"{len(services)} between services ({traces.traces} traces)"
        if not problems
        else f"{pluralize(len(every), 'edges')} compared, {pluralize(len(problems), 'differences')}",
        {
            "sources": {
                **{name: len(found) for name, found in inside.items()},
                DEPENDENCIES: len(links),
            },
            "edges": [_agreement_row(edge, inside, namespace) for edge in every],
            "not_compared": {name: found for name, found in left.items() if found},
            "kiali": "compared" if kiali is not None else f"not compared: {kiali_reason or 'not asked'}",
        },
        remedy="an edge that only metrics tell: its traces are lost (see check jaeger.productpage-traces); "
        "one that only traces tell: its proxies are not scraped (prometheus.targets)",
    )


def kiali_graph(graph: ServiceGraph, version: str, expected: Collection[Edge]) -> CheckResult:
    """Judge Kiali's own graph: it holds every edge of the application; edges beside them are named, not judged.

    Kiali's edges come from rates over a window in whole seconds, so the exact set is judged by graph.edges.
    Evidence: `version`, table `edges` (from, to, protocol, rate, errors, p95, mTLS), `beside`.

    Args:
        graph: Kiali's graph.
        version: Kiali's version.
        expected: The application's edges.

    Returns:
        The check.
    """
    namespace = next((edge[0][0] for edge in expected), "")
    seen = {(edge.source, edge.target) for edge in graph.edges}
    problems = [f"Kiali shows no edge {_named(edge, namespace)}" for edge in expected if edge not in seen]
    if not expected:
        problems.append("no edge is expected, so nothing was checked")
    beside = sorted(_named(edge, namespace) for edge in seen - set(expected))
    return judged(
        "kiali.graph",
        problems,
        f"Kiali {version} shows {len(graph.nodes)} workloads and {len(graph.edges)} edges, "
        f"{len(set(expected) & seen)} of {len(expected)} expected ones",
        {
            "version": version,
            "edges": [
                {
                    "from": _short(edge.source, namespace),
                    "to": _short(edge.target, namespace),
                    "protocol": edge.protocol,
                    "rate_rps": edge.rate_rps,
                    "error_percent": edge.error_percent,
                    "p95_ms": edge.p95_ms,
                    "mtls": edge.mtls,
                }
                for edge in graph.edges
            ],
            "beside": beside,
        },
        remedy="keep the traffic going, and look at Kiali's log: it reads the same Prometheus",
    )


def edge_table(graph: MetricGraph, expected: Collection[Edge], others: Collection[Edge]) -> Table:
    """Every edge that was counted, and the expected ones that were not, as rows."""
    rows: Table = []
    drawn = {(each.source, each.target, each.protocol): each for each in graph.drawn().edges}
    for edge in graph.edges:
        key = (edge.source.key, edge.target.key)
        shown = drawn[(*key, edge.protocol)]
        part = "expected" if key in expected else "other traffic" if key in others else "extra"
        rows.append(
            _row(key, graph.namespace, part)
            | {
                "protocol": edge.protocol,
                "counted_by_source": edge.requests.get("source", 0.0),
                "counted_by_destination": edge.requests.get("destination", 0.0),
                "rate_rps": round(shown.rate_rps or 0.0, 3),
                "error_percent": None if shown.error_percent is None else round(shown.error_percent, 2),
                "p95_ms": None if shown.p95_ms is None else round(shown.p95_ms, 2),
                "mtls": shown.mtls,
            }
        )
    seen = graph.reporters()
    rows += [
        _row(key, graph.namespace, "lost") | dict.fromkeys(list(rows[0])[3:] if rows else (), None)
        for key in expected
        if key not in seen
    ]
    return rows


def _row(edge: Edge, namespace: str, part: str) -> dict[str, object]:
    return {"from": _short(edge[0], namespace), "to": _short(edge[1], namespace), "part": part}


def _agreement_row(edge: Edge, inside: Mapping[str, set[Edge]], namespace: str) -> dict[str, object]:
    ends = {"from": _short(edge[0], namespace), "to": _short(edge[1], namespace)}
    return {**ends, **{name: edge in found for name, found in inside.items()}}


def _nodes(metrics: MetricGraph, traces: TraceGraph) -> dict[Key, GraphNode]:
    found = [node for edge in metrics.edges for node in (edge.source, edge.target)]
    found += [node for each in traces.calls.values() for node in (each.source, each.target)]
    return {node.key: node for node in found}


def _is_inside(edge: Edge, namespace: str) -> bool:
    return edge[0][0] == namespace == edge[1][0]


def _list(inside: Mapping[str, set[Edge]], edge: Edge, having: bool) -> str:
    return " and ".join(name for name, found in inside.items() if (edge in found) is having)


def _named(edge: Edge, namespace: str) -> str:
    return f"{_short(edge[0], namespace)} → {_short(edge[1], namespace)}"


def _short(key: Key, namespace: str) -> str:
    """A workload by its name, with its namespace where that is another."""
    return key[1] if key[0] in (namespace, key[1]) else f"{key[0]}/{key[1]}"
