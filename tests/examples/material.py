"""Made-up material: Bookinfo's graph and one of 70 workloads, a trace, and dashboards of about 100 panels."""

from __future__ import annotations

import math
import random
from itertools import pairwise

from meshlab.report.material import (
    Dashboard,
    GraphEdge,
    GraphNode,
    GridPos,
    Panel,
    Point,
    QueryChart,
    ReportMaterial,
    Series,
    ServiceGraph,
    Span,
    Target,
    Trace,
)
from tests.examples.truth_tables import ALLOWED, DENIED, GOOD, OK, RBAC, UNSURE, row, table

BEGIN = 1_795_460_000.0  # seconds since the epoch
BOOKINFO = (
    ("sleep", "sleep", ""), ("productpage-v1", "productpage", "v1"), ("details-v1", "details", "v1"),
    ("reviews-v1", "reviews", "v1"), ("reviews-v2", "reviews", "v2"), ("reviews-v3", "reviews", "v3"),
    ("ratings-v1", "ratings", "v1"),
)  # fmt: skip
CALLS = (
    ("sleep", "productpage-v1"), ("productpage-v1", "details-v1"), ("productpage-v1", "reviews-v1"),
    ("productpage-v1", "reviews-v2"), ("productpage-v1", "reviews-v3"), ("reviews-v2", "ratings-v1"),
    ("reviews-v3", "ratings-v1"),
)  # fmt: skip
UNITS = ("reqps", "s", "bytes", "percentunit", "Bps", "short", "ms", "cps", "none", "ops")


def wave(scale: float = 1.0, *, points: int = 60, shift: float = 0.0, step: float = 5.0) -> tuple[Point, ...]:
    """A series that goes up and down around `scale`."""
    return tuple((BEGIN + step * n, scale * (1 + 0.3 * math.sin(n / 7 + shift))) for n in range(points))


def bookinfo() -> ServiceGraph:
    """Bookinfo's graph with everything measured: one edge with errors, one in plaintext, one in TCP."""
    nodes = [GraphNode(workload, app, version, "default") for workload, app, version in BOOKINFO]
    gateway = GraphNode("istio-ingressgateway", "istio-ingressgateway", "", "istio-system")
    echo = GraphNode("tcp-echo", "tcp-echo", "", "default")
    edges = [
        GraphEdge(("default", source), ("default", target), "http", 0.3 * (n + 1), 0.0, 4.1 * (n + 1), True)
        for n, (source, target) in enumerate(CALLS)
    ]
    edges[-1] = GraphEdge(edges[-1].source, edges[-1].target, "http", 0.7, 12.5, 230.0, True)
    edges.append(GraphEdge(gateway.key, nodes[1].key, "http", 1.4, 0.4, 12.0, False))
    edges.append(GraphEdge(nodes[0].key, echo.key, "tcp", 0.5, None, None, True))
    return ServiceGraph("Bookinfo, workload to workload", (*nodes, gateway, echo), tuple(edges), "Prometheus")


def large_graph(workloads: int = 70, seed: int = 3) -> ServiceGraph:
    """A shop of that many workloads in six tiers, a call back up among them."""
    chance = random.Random(seed)
    tiers = ("edge", "web", "api", "core", "data", "store")
    rows: list[list[GraphNode]] = [[] for _ in tiers]
    count = 0
    while count < workloads:
        tier = 0 if count == 0 else chance.randrange(1, len(tiers))
        app = f"{tiers[tier]}-{chance.choice(('orders', 'stock', 'mail', 'auth', 'index'))}{count}"
        for version in range(1, min(chance.choice((1, 1, 2, 3)), workloads - count) + 1):
            rows[tier].append(GraphNode(f"{app}-v{version}", app, f"v{version}", "shop"))
            count += 1
    edges: dict[tuple[tuple[str, str], tuple[str, str]], GraphEdge] = {}
    for above, below in pairwise(rows):
        for target in below:
            for source in chance.sample(above, min(len(above), chance.choice((1, 1, 2)))):
                errors = chance.choice((0.0,) * 8 + (0.4, 12.0))
                edges[source.key, target.key] = GraphEdge(
                    source.key, target.key, "http", chance.uniform(0.1, 40), errors, chance.uniform(2, 300),
                    chance.random() > 0.05,
                )  # fmt: skip
    back = GraphEdge(rows[-1][0].key, rows[1][0].key, "http", 1.0, 0.0, 5.0, True)
    return ServiceGraph(
        "A shop", tuple(node for row in rows for node in row), (*edges.values(), back), "Prometheus"
    )


def trace() -> Trace:
    """Productpage's trace, ratings answering 503."""
    begin = int(BEGIN * 1e6)
    spans = (
        ("a", None, "sleep.default", "productpage:9080/productpage", 0, 42.1, "200"),
        ("b", "a", "productpage.default", "productpage:9080/productpage", 900, 40.3, "200"),
        ("c", "b", "productpage.default", "details:9080/*", 3_100, 6.2, "200"),
        ("d", "c", "details.default", "details:9080/*", 3_900, 4.1, "200"),
        ("e", "b", "productpage.default", "reviews:9080/*", 12_000, 26.4, "200"),
        ("f", "e", "reviews.default", "reviews:9080/*", 12_900, 24.9, "200"),
        ("g", "f", "reviews.default", "ratings:9080/*", 20_100, 9.8, "503"),
        ("h", "g", "ratings.default", "ratings:9080/*", 21_000, 7.7, "503"),
    )  # fmt: skip
    return Trace(
        "4bf92f3577b34da6a3ce929d0e0e4736",
        tuple(
            Span(name, parent, service, operation, begin + start, took, status, status == "503")
            for name, parent, service, operation, start, took, status in spans
        ),
    )


def panels(count: int, *, series: int = 4) -> tuple[Panel, ...]:
    """Panels of every kind, three in a row as Grafana has them, some of them empty for a reason."""
    made = [Panel("Traffic", "row", grid=GridPos(0, 0, 24, 1))]
    for n in range(count):
        unit = UNITS[n % len(UNITS)]
        lines = tuple(
            Series(f"productpage-v{one}.default.svc.cluster.local P{50 + one}", wave(one + 1.0, shift=one))
            for one in range(series)
        )
        grid = GridPos(8 * (n % 3), 1 + 8 * (n // 3), 8, 8)
        query = f'histogram_quantile(0.9{n}, sum(irate(istio_requests_total{{app="a{n}"}}[1m])) by (le, app))'
        got = (Target("A", query, "data"), Target("B", query, "data"))
        if n % 13 == 12:
            why = Target("A", query, "expected-empty", "no Wasm plugin is loaded: 0 wasm series exist")
            made.append(Panel(f"Wasm {n}", "timeseries", unit, (), grid, (why,)))
        elif n % 6 == 1:
            made.append(Panel(f"Volume {n}", "stat", unit, lines[:1], grid, got))
        elif n % 17 == 5:
            made.append(Panel(f"Share {n}", "gauge", "percentunit", lines[:1], grid, got, maximum=2.0))
        elif n % 17 == 8:
            rows = tuple(
                {"destination_service": f"s{one}.default", "Requests": "1 req/s"} for one in range(4)
            )
            made.append(Panel(f"Workloads {n}", "table", "", (), grid, got, rows))
        elif n % 17 == 10:
            made.append(
                Panel("", "text", grid=grid, text="<b>CLIENT</b> <a href='https://www.example.com'>more</a>")
            )
        else:
            made.append(Panel(f"Duration {n}", "timeseries", unit, lines, grid, got))
    return tuple(made)


def dashboards() -> tuple[Dashboard, ...]:
    """Seven dashboards with 100 panels, like those that Istio ships."""
    sizes = {
        "mesh": 7,
        "service": 25,
        "workload": 24,
        "control-plane": 20,
        "performance": 12,
        "wasm": 6,
        "ztunnel": 6,
    }
    return tuple(Dashboard(f"Istio {name}", name, panels(size), "Prometheus") for name, size in sizes.items())


def material() -> ReportMaterial:
    """Everything that a report can show."""
    pods = [
        {"namespace": "default", "name": f"{workload}-79d8c5f5f4-hr8xb", "ready": "2/2", "status": "Running",
         "restarts": 0, "age": "42s", "node": "meshlab-node1", "ip": "10.177.17.3"}
        for workload, _, _ in BOOKINFO
    ]  # fmt: skip
    rate = QueryChart(
        "Rate over five minutes",
        'rate(istio_requests_total{destination_app="productpage"}[5m])',
        (Series("sleep", wave(0.5)),),
        "reqps",
        "prometheus.rate-5m",
    )
    graphs = (bookinfo(), large_graph())
    refused = row(DENIED, RBAC, RBAC, RBAC, method="POST", token="editor")
    differs = row(ALLOWED, RBAC, client="productpage")
    cells = table(*GOOD, refused, differs, row(UNSURE, OK, client="gateway"))
    return ReportMaterial(pods, (rate,), dashboards(), (trace(),), graphs, authorization=cells)
