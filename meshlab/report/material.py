"""What the report draws: series, panels, dashboards, spans, the service graph. Plain values, made elsewhere.

Times of points are seconds since the epoch, durations of spans milliseconds, rates per second. Nothing here
knows where a value came from (Grafana, Prometheus, Jaeger, Kiali) or how it is drawn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from meshlab.security.authorization.table import TruthTable

Point = tuple[float, float | None]  # (seconds since the epoch, value); None is a gap
Row = Mapping[str, Any]
PanelKind = Literal["timeseries", "stat", "gauge", "bargauge", "table", "text", "row"]
Classification = Literal["data", "expected-empty", "unexpected-empty", "error"]


@dataclass(frozen=True)
class Series:
    """One line of a chart. points: in order of time; what is no finite number counts as a gap."""

    name: str
    points: tuple[Point, ...]

    def values(self) -> list[float]:
        """The values without the gaps."""
        return [value for _, value in self.points if value is not None and math.isfinite(value)]


@dataclass(frozen=True)
class GridPos:
    """Where a panel stands on Grafana's grid: 24 columns, rows of any height; x and y from 0."""

    x: int = 0
    y: int = 0
    w: int = 12
    h: int = 8


@dataclass(frozen=True)
class Target:
    """One query of a panel and what became of it. reason: why it is empty or failed, or None."""

    ref: str
    query: str
    classification: Classification
    reason: str | None = None


@dataclass(frozen=True)
class Panel:
    """One panel of a dashboard.

    unit: Grafana's name for it (s, reqps, bytes, percentunit, …), "" for none. series: what the queries
    answered, the last value of each for stat, gauge and bargauge. rows: a table panel's records, same keys in
    each. text: a text panel's content. minimum, maximum: a gauge's ends, in the panel's unit.
    """

    title: str
    kind: PanelKind = "timeseries"
    unit: str = ""
    series: tuple[Series, ...] = ()
    grid: GridPos = GridPos()
    targets: tuple[Target, ...] = ()
    rows: tuple[Row, ...] = ()
    text: str = ""
    minimum: float | None = None
    maximum: float | None = None

    def counts(self) -> Counter[Classification]:
        """How many of its queries are of each class."""
        return Counter(target.classification for target in self.targets)


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: panels as its JSON orders them. source: who answered (Grafana, Prometheus)."""

    title: str
    uid: str
    panels: tuple[Panel, ...]
    source: str = ""

    def counts(self) -> Counter[Classification]:
        """How many of its queries are of each class."""
        return sum((panel.counts() for panel in self.panels), Counter[Classification]())


@dataclass(frozen=True)
class QueryChart:
    """A query of the document and its answer over time. check: id of the check that asked it."""

    title: str
    query: str
    series: tuple[Series, ...]
    unit: str = ""
    check: str | None = None


@dataclass(frozen=True)
class Span:
    """One span. parent: id of the span that caused it, None for a root.

    start_us: microseconds since the epoch. status: the HTTP or gRPC status as text, "" where there is none.
    error: the span says so.
    """

    id: str
    parent: str | None
    service: str
    operation: str
    start_us: int
    duration_ms: float
    status: str = ""
    error: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """The spans of one trace, in any order. note: what to know about it (a branch that is missing)."""

    trace_id: str
    spans: tuple[Span, ...]
    note: str = ""


@dataclass(frozen=True)
class GraphNode:
    """A workload. app groups its versions; both may be empty."""

    workload: str
    app: str = ""
    version: str = ""
    namespace: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What an edge names it by: (namespace, workload)."""
        return self.namespace, self.workload


@dataclass(frozen=True)
class GraphEdge:
    """Traffic from a workload to a workload, both named by GraphNode.key.

    protocol: http, grpc or tcp. rate_rps: requests (tcp: connections) per second. error_percent: 0 to 100.
    mtls: None where it is not known, or where the traffic is of both kinds. None in a number: not measured.
    """

    source: tuple[str, str]
    target: tuple[str, str]
    protocol: str = "http"
    rate_rps: float | None = None
    error_percent: float | None = None
    p95_ms: float | None = None
    mtls: bool | None = None


@dataclass(frozen=True)
class ServiceGraph:
    """Who calls whom. source: where it was read (Prometheus, Jaeger, Kiali). Edges end at nodes of it."""

    title: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    source: str = ""


@dataclass(frozen=True)
class ReportMaterial:
    """What the report shows beside `result.json`. Everything is optional: what is missing is not shown.

    pods: rows of `tables.pod_rows`.
    """

    pods: Sequence[Row] = ()
    query_charts: Sequence[QueryChart] = ()
    dashboards: Sequence[Dashboard] = ()
    traces: Sequence[Trace] = ()
    graphs: Sequence[ServiceGraph] = ()
    authorization: TruthTable | None = None
