"""What a dashboard's JSON says, as values, with Grafana's names where they mean something here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """One query of a panel.

    ref: its refId, unique in the panel. expr: PromQL with template variables. instant: one value for each
    series instead of values over time. interval: its own least step (`15s`), "" for the panel's. factor:
    multiplies the step. hidden: kept in the panel but not shown.
    """

    ref: str
    expr: str
    legend: str = ""
    instant: bool = False
    format: str = "time_series"
    interval: str = ""
    factor: int = 1
    hidden: bool = False

    @property
    def digest(self) -> str:
        """Identifies the expression: it changes with it, but not with its white space."""
        return hashlib.sha256(" ".join(self.expr.split()).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Panel:
    """One panel; a row is a panel without queries. id: unique in the dashboard.

    kind: Grafana's type (timeseries, stat, table, heatmap, row, text, …). unit: Grafana's id for it. grid: x,
    y, width and height on 24 columns. interval: least step, "" for the datasource's. points: the most that a
    query should return, 0 for as many as the panel has pixels. reduce: how a stat makes one number of a
    series. names, units: a table's columns → title and unit. hidden: its columns that are not shown. row:
    title of the row that it stands under.
    """

    id: int
    title: str
    kind: str
    unit: str = ""
    grid: tuple[int, int, int, int] = (0, 0, 12, 8)
    interval: str = ""
    points: int = 0
    reduce: str = "lastNotNull"
    targets: tuple[Target, ...] = ()
    text: str = ""
    minimum: float | None = None
    maximum: float | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    row: str = ""


@dataclass(frozen=True)
class Variable:
    """A template variable. kind: query, custom, constant, textbox, interval, datasource or adhoc.

    query: what gives its values. regex: picks them out of the answer, `/…/` or "". sort: Grafana's number of
    an order. current: what was saved with the dashboard, empty where nothing was. all_value: what "All"
    stands for, "" for the values themselves.
    """

    name: str
    kind: str
    query: str = ""
    regex: str = ""
    sort: int = 0
    multi: bool = False
    include_all: bool = False
    all_value: str = ""
    current: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dashboard:
    """A dashboard. uid: "" where the JSON has none (Grafana makes one up). seconds: the range shown first."""

    title: str
    uid: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()
    seconds: float = 1800.0

    def targets(self) -> Iterator[tuple[Panel, Target]]:
        """Every query with its panel, in the order of the JSON."""
        return ((panel, target) for panel in self.panels for target in panel.targets)
