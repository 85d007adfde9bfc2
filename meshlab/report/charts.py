"""Time series as small line charts: inline SVG, text as text, at most `LIMIT` bytes.

Drawn by Vega-Lite through vl-convert, which needs no browser and no network (docs/decisions tells why). About
30 ms of CPU each. Times are shown in UTC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert

from meshlab.core.text import pluralize
from meshlab.report.material import Point, Series
from meshlab.report.svg import COLOURS, Picture, compact, picture
from meshlab.report.thin import thin, with_gaps
from meshlab.report.units import Scale, format_value, scale_for

LIMIT = 8_000  # bytes of a chart's SVG; title, legend and frame of a panel come on top of it
MOST_SERIES = 20  # lines that one chart draws: more can't be told apart
DAYS = 48 * 3_600_000  # milliseconds from which on an axis shows dates
_POINTS = 600  # of a whole chart, at first; halved until the chart is within LIMIT
_DASHES = ((), (5, 2), (1.5, 2), (7, 2, 1.5, 2))  # of each round through the colours
_AXIS = {
    "labelColor": "var(--ink-2)", "labelFontSize": 11, "gridColor": "var(--line)", "tickColor": "var(--axis)",
    "domainColor": "var(--axis)", "titleColor": "var(--ink-2)",
}  # fmt: skip


@dataclass(frozen=True)
class LegendEntry:
    """One line of the legend. colour: 1 to 8; last: the last value, with its unit."""

    name: str
    colour: int
    last: str


@dataclass(frozen=True)
class Chart:
    """A drawn chart. legend: the series that are drawn. left_out: how many more there are."""

    picture: Picture
    legend: tuple[LegendEntry, ...]
    left_out: int = 0


def line_chart(
    title: str,
    series: Sequence[Series],
    unit: str = "",
    *,
    width: int = 560,
    height: int = 190,
    limit: float | None = None,
    marks: Sequence[float] = (),
) -> Chart | None:
    """Draw series over time.

    Of more than MOST_SERIES the ones with the highest peaks are drawn. The vertical axis holds zero.

    Args:
        title: Of the chart.
        series: The lines.
        unit: Of the values.
        width: CSS pixels of the whole picture.
        height: CSS pixels of the whole picture.
        limit: A value that is drawn as a dashed line.
        marks: Moments (seconds since the epoch) that are drawn as vertical ones.

    Returns:
        The chart; None when no series has a value.
    """
    filled = [one for one in series if one.values()]
    if not filled:
        return None
    drawn = filled
    if len(filled) > MOST_SERIES:
        floor = sorted((max(map(abs, one.values())) for one in filled), reverse=True)[MOST_SERIES - 1]
        drawn = [one for one in filled if max(map(abs, one.values())) >= floor][:MOST_SERIES]
    scale = scale_for(max(abs(value) for one in drawn for value in one.values()), unit)
    budget = _POINTS
    while True:
        buckets = max(1, min(width, budget // (2 * len(drawn))))
        lines = [thin(with_gaps(_finite(one.points)), buckets) for one in drawn]
        spec = _spec(lines, scale, width, height)
        spec["layer"] += _rules(limit, marks, scale)
        root = compact(vl_convert.vegalite_to_svg(spec))
        chart = picture(
            root, _alt(title, drawn, unit), float(root.get("width", width)), float(root.get("height", height))
        )
        if chart.size <= LIMIT or buckets == 1:
            break
        budget //= 2
    legend = tuple(
        LegendEntry(one.name, index % COLOURS + 1, format_value(one.values()[-1], unit))
        for index, one in enumerate(drawn)
    )
    return Chart(chart, legend, len(filled) - len(drawn))


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(time, value if value is not None and math.isfinite(value) else None) for time, value in points]


def _spec(lines: Sequence[Sequence[Point]], scale: Scale, width: int, height: int) -> dict[str, Any]:
    """The chart as Vega-Lite states it. Values come scaled to the unit that the axis shows."""
    values: list[dict[str, Any]] = [
        {"t": round(time * 1000), "v": None if value is None else value * scale.factor, "s": str(index)}
        for index, line in enumerate(lines)
        for time, value in line
    ]
    times = [record["t"] for record in values]
    first, last = min(times), max(times)
    if first == last:
        first, last = first - 30_000, last + 30_000
    names = [str(index) for index in range(len(lines))]
    flat = all(record["v"] in (0, None) for record in values)
    colours = [f"var(--s{index % COLOURS + 1})" for index in range(len(lines))]
    encoding = {
        "x": {
            "field": "t", "type": "temporal", "title": None,
            "scale": {"type": "utc", "domain": [first, last]},
            "axis": {"format": _time_format(last - first), "grid": False,
                     "tickCount": max(2, width // (110 if last - first < DAYS else 70)),
                     "labelOverlap": True, "labelFlush": True},
        },
        "y": {
            "field": "v", "type": "quantitative", "title": None,
            "scale": {"zero": True, "nice": True, **({"domain": [0, 1]} if flat else {})},
            "axis": {"labelExpr": f"format(datum.value,'~g')+{scale.suffix!r}", "domain": False,
                     "ticks": False, "tickCount": max(2, height // 45)},
        },
        "color": {"field": "s", "type": "nominal", "legend": None,
                  "scale": {"domain": names, "range": colours}},
    }  # fmt: skip
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "strokeWidth": 1.6, "strokeDash": list(_DASHES[group % len(_DASHES)])},
         "transform": [{"filter": {"field": "s", "oneOf": names[group * COLOURS:(group + 1) * COLOURS]}}]}
        for group in range((len(names) + COLOURS - 1) // COLOURS)
    ]  # fmt: skip
    lonely = [record for line in _split(values) if len(line) == 1 for record in line]
    if lonely:
        layers.append({"mark": {"type": "point", "filled": True, "size": 18}, "data": {"values": lonely}})
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": width, "height": height, "autosize": {"type": "fit", "contains": "padding"}, "padding": 4,
        "background": None, "data": {"values": values}, "encoding": encoding, "layer": layers,
        "config": {"axis": _AXIS, "view": {"stroke": None}},
    }  # fmt: skip


def _time_format(span: float) -> str:
    """How times are written on an axis of so many milliseconds."""
    if span < 600_000:
        return "%H:%M:%S"
    return "%H:%M" if span < DAYS else "%-d %b"


def _rules(limit: float | None, marks: Sequence[float], scale: Scale) -> list[dict[str, Any]]:
    """Layers of straight lines across the chart."""
    ink = {"type": "rule", "strokeDash": [3, 3]}
    level = [{"v": limit * scale.factor}] if limit is not None else []
    moments = [{"t": round(mark * 1000)} for mark in marks]
    layers = [
        {"mark": {**ink, "color": {"expr": "'var(--bad)'"}}, "data": {"values": level},
         "encoding": {"x": None, "color": None, "y": {"field": "v", "type": "quantitative"}}},
        {"mark": {**ink, "color": {"expr": "'var(--axis)'"}}, "data": {"values": moments},
         "encoding": {"y": None, "color": None, "x": {"field": "t", "type": "temporal"}}},
    ]  # fmt: skip
    return [layer for layer, filled in zip(layers, (level, moments), strict=True) if filled]


def _split(values: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The records in unbroken lines: cut where the series changes and at gaps."""
    lines: list[list[dict[str, Any]]] = [[]]
    for before, record in zip([None, *values], values, strict=False):
        if before is None or before["s"] != record["s"] or record["v"] is None:
            lines.append([])
        if record["v"] is not None:
            lines[-1].append(record)
    return lines


def _alt(title: str, series: Sequence[Series], unit: str) -> str:
    """What the chart shows, in words: how many lines, and of the first three the last value and the range."""
    told = []
    for one in series[:3]:
        values = one.values()
        low, high = format_value(min(values), unit), format_value(max(values), unit)
        told.append(f"{one.name[:80]}: last {format_value(values[-1], unit)}, between {low} and {high}")
    more = f"; and {len(series) - 3} more" if len(series) > 3 else ""
    return f"Line chart of {title}, {pluralize(len(series), 'lines')}. {'; '.join(told)}{more}."
