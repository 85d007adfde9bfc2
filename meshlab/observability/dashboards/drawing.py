"""Examined dashboards as the values that the report draws."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.observability.addons.query import RangeSamples
from meshlab.observability.dashboards.model import Panel
from meshlab.observability.dashboards.results import Examination, Result
from meshlab.observability.dashboards.templating import Value, plain
from meshlab.report import material
from meshlab.report.material import GridPos, PanelKind, Series
from meshlab.report.units import format_value

# The document opens these three, in this order; the rest follow as they are shipped.
FIRST = ("Istio Mesh Dashboard", "Istio Service Dashboard", "Istio Workload Dashboard")
KINDS: Mapping[str, PanelKind] = {
    "timeseries": "timeseries", "graph": "timeseries", "heatmap": "timeseries", "stat": "stat",
    "singlestat": "stat", "gauge": "gauge", "bargauge": "bargauge", "table": "table", "text": "text",
    "row": "row",
}  # fmt: skip
LEGEND = re.compile(r"\{\{\s*(.+?)\s*\}\}")


def drawings(examination: Examination) -> tuple[material.Dashboard, ...]:
    """Every dashboard under its first choice, the document's three first."""
    titles = [dashboard.title for dashboard in examination.dashboards]
    ordered = [title for title in FIRST if title in titles]
    ordered += [title for title in titles if title not in FIRST]
    return tuple(drawing(examination, title) for title in ordered)


def drawing(examination: Examination, title: str) -> material.Dashboard:
    """Draw one dashboard under its first choice.

    Args:
        examination: What became of its queries.
        title: The dashboard's.

    Returns:
        The dashboard as the report draws it.

    Raises:
        KeyError: It was not examined.
    """
    found = {dashboard.title: dashboard for dashboard in examination.dashboards}[title]
    results = examination.of(title)
    name = results[0].choice.name if results else ""
    values = examination.values.get((title, name), {})
    by_panel: dict[int, list[Result]] = {}
    for result in results:
        by_panel.setdefault(result.panel.id, []).append(result)
    return material.Dashboard(
        title=f"{title}: {name}" if name else title,
        uid=found.uid or re.sub(r"\W+", "-", title.lower()),
        panels=tuple(_panel(panel, by_panel.get(panel.id, []), values) for panel in found.panels),
        source=examination.source,
    )


def _panel(panel: Panel, results: list[Result], values: Mapping[str, Value]) -> material.Panel:
    kind = KINDS.get(panel.kind, "timeseries")
    shown = [each for each in results if not each.target.hidden]
    lines = [(each, line) for each in shown for line in each.lines if line.has_value]
    series = tuple(_series(each, line, panel, kind) for each, line in lines) if kind != "table" else ()
    x, y, width, height = panel.grid
    return material.Panel(
        title=plain(panel.title, values),
        kind=kind,
        unit=panel.unit,
        series=series,
        grid=GridPos(x, y, width, height),
        targets=tuple(
            material.Target(each.target.ref, each.promql, each.classification, each.reason or None)
            for each in results
        ),
        rows=tuple(_rows(panel, shown)) if kind == "table" else (),
        text=_words(plain(panel.text, values)),
        minimum=panel.minimum,
        maximum=panel.maximum,
    )


def _series(result: Result, line: RangeSamples, panel: Panel, kind: PanelKind) -> Series:
    """A line with its legend's name. What is no finite number is a gap; a stat gets its one number."""
    points: tuple[material.Point, ...] = tuple(
        (when, value if math.isfinite(value) else None) for when, value in line.points
    )
    if kind != "timeseries":
        points = _reduced(points, panel.reduce)
    return Series(legend(result, line.labels), points)


def _reduced(points: tuple[material.Point, ...], how: str) -> tuple[material.Point, ...]:
    known = [(when, value) for when, value in points if value is not None]
    if not known:
        return points[-1:]
    numbers = [value for _, value in known]
    reduced = {
        "mean": sum(numbers) / len(numbers),
        "max": max(numbers),
        "min": min(numbers),
        "sum": sum(numbers),
    }
    return ((known[-1][0], reduced.get(how, numbers[-1])),)


def legend(result: Result, labels: Mapping[str, str]) -> str:
    """The name of a line, as Grafana makes it: its legend filled in, else as Prometheus writes a series."""
    form = result.target.legend
    if form and form != "__auto":
        return LEGEND.sub(lambda found: labels.get(found[1], ""), form).strip()
    inner = ", ".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
    name = labels.get("__name__", "")
    return f"{name}{{{inner}}}" if inner else name or result.panel.title


def _rows(panel: Panel, results: Iterable[Result]) -> list[dict[str, Any]]:
    """A table of instant queries, merged where the labels that both have agree (Grafana's transformation)."""
    records: list[tuple[dict[str, str], dict[str, float]]] = []
    columns: list[str] = []
    for result in results:
        column = f"Value #{result.target.ref}"
        columns.append(column)
        for line in result.lines:
            labels = {name: value for name, value in line.labels.items() if name != "__name__"}
            mates = [known for known in records if column not in known[1] and _agree(known[0], labels)]
            for known_labels, known_values in mates:
                known_labels.update(labels)
                known_values[column] = line.points[-1][1]
            if not mates:
                records.append((labels, {column: line.points[-1][1]}))
    names = [
        name for name in dict.fromkeys(n for labels, _ in records for n in labels) if name not in panel.hidden
    ]
    names.sort(key=lambda name: name not in panel.names)
    return [
        {panel.names.get(name, name): labels.get(name, "") for name in names}
        | {
            panel.names.get(column, column): format_value(
                values.get(column), panel.units.get(column, panel.unit)
            )
            for column in columns
        }
        for labels, values in records
    ]


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    common = one.keys() & other.keys()
    return bool(common) and all(one[name] == other[name] for name in common)


def _words(markup: str) -> str:
    """The text of a text panel, which is HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())
