"""The service graph as a picture, with the overlays that Kiali's display menu names.

Request rate (width of the arrow, number), error rate (colour, dashes, number), response time (p95), mTLS
(padlock) and versions grouped by app.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from meshlab.core.text import pluralize
from meshlab.report.graph_layout import HEADER, XY, Box, Route, lay_out
from meshlab.report.material import GraphEdge, Row, ServiceGraph
from meshlab.report.svg import Picture, add, picture
from meshlab.report.units import format_value

CROWDED = 24  # edges: with more, only what is not as it should be is marked
DEGRADED, FAILING = 0.1, 5.0  # percent of errors from which an edge is drawn so
_CHARACTER, _BOLD, _LABEL = 5.8, 6.5, 15  # pixels: of an 11 px sans-serif, of a bold one, a label's height
_CORNER, _HEAD = 7.0, 7.0  # pixels: radius of an arrow's bends, length of its head
_LOCK = 13  # pixels that a padlock takes in a label


def draw_graph(graph: ServiceGraph) -> Picture | None:
    """The graph as SVG, layered from left to right; None when it has no node.

    With more than CROWDED edges only errors and plaintext are marked: the table (`edge_rows`) has all the
    numbers. Raises KeyError when an edge ends at a node that the graph does not have.
    """
    if not graph.nodes:
        return None
    crowded = len(graph.edges) > CROWDED
    labels = [_label(edge, crowded) for edge in graph.edges]
    sizes = [_label_size(edge, text) for edge, text in zip(graph.edges, labels, strict=True)]
    laid = lay_out(graph, sizes, crowded=crowded)
    several = len({node.namespace for node in graph.nodes}) > 1
    root = ET.Element("svg", {"font-size": "13"})
    busiest = max((edge.rate_rps or 0 for edge in graph.edges), default=0)
    for edge, route in sorted(
        zip(graph.edges, laid.routes, strict=True), key=lambda pair: pair[0].error_percent or 0
    ):
        _arrow(root, edge, route, busiest)
    for box in laid.boxes:
        _draw_box(root, box, several)
    for edge, route, text in zip(graph.edges, laid.routes, labels, strict=True):
        if text is not None and route.label is not None:
            _draw_label(root, edge, route.label, text)
    return picture(root, _alt(graph), round(laid.width), round(laid.height))


def edge_rows(graph: ServiceGraph) -> list[Row]:
    """Every edge with its numbers, for the table beside the picture."""
    return [
        {
            "from": edge.source[1],
            "to": edge.target[1],
            "protocol": edge.protocol,
            "rate": "-" if edge.rate_rps is None else format_value(edge.rate_rps, _rate_unit(edge)),
            "errors": "-" if edge.error_percent is None else format_value(edge.error_percent, "percent"),
            "p95": "-" if edge.p95_ms is None else format_value(edge.p95_ms, "ms"),
            "mTLS": {True: "yes", False: "no (plaintext)", None: "not known"}[edge.mtls],
        }
        for edge in sorted(graph.edges, key=lambda edge: (edge.source, edge.target, edge.protocol))
    ]


def _rate_unit(edge: GraphEdge) -> str:
    return "cps" if edge.protocol == "tcp" else "reqps"


def _state(edge: GraphEdge) -> str:
    if edge.error_percent is None:
        return "axis"
    if edge.error_percent >= FAILING:
        return "bad"
    return "warn" if edge.error_percent >= DEGRADED else "ok"


def _label(edge: GraphEdge, crowded: bool) -> str | None:
    """The edge's numbers; "" for a padlock alone, None for no label."""
    wrong = _state(edge) in ("warn", "bad")
    errors = f"{format_value(edge.error_percent, 'percent')} err" if wrong else ""
    if crowded:
        return errors if wrong or edge.mtls is False else None
    parts = [edge.protocol] if edge.protocol != "http" else []
    if edge.rate_rps is not None:
        parts.append(f"{format_value(edge.rate_rps)}/s")
    if errors:
        parts.append(errors)
    if edge.p95_ms is not None:
        parts.append(format_value(edge.p95_ms, "ms"))
    return " · ".join(parts) if parts or edge.mtls is not None else None


def _label_size(edge: GraphEdge, text: str | None) -> XY | None:
    if text is None:
        return None
    character = _BOLD if _state(edge) in ("warn", "bad") else _CHARACTER
    return len(text) * character + (8 if text else 4) + (_LOCK if edge.mtls is not None else 0), float(_LABEL)


def _arrow(root: ET.Element, edge: GraphEdge, route: Route, busiest: float) -> None:
    share = math.sqrt((edge.rate_rps or 0) / busiest) if busiest else 0
    state, width = _state(edge), 1.2 + 2.0 * share
    group = add(root, "g", stroke=f"var(--{state})", fill=f"var(--{state})")
    add(group, "title", _told(edge))
    drawn = "".join(_path(piece, cut=_HEAD - 1 if piece is route.pieces[-1] else 0) for piece in route.pieces)
    dashes = {"stroke-dasharray": "7 3"} if state in ("warn", "bad") else {}
    add(group, "path", None, dashes, d=drawn, fill="none", stroke_width=width)
    (x0, y0), (x, y) = route.pieces[-1][-2:]
    length = math.hypot(x - x0, y - y0) or 1.0
    dx, dy = (x - x0) / length, (y - y0) / length
    half = 3.0 + width / 2
    back_x, back_y = x - _HEAD * dx, y - _HEAD * dy
    head = [(x, y), (back_x - half * dy, back_y + half * dx), (back_x + half * dy, back_y - half * dx)]
    outline = "L".join(f"{px:.1f},{py:.1f}" for px, py in head)
    add(group, "path", d=f"M{outline}Z", stroke="none")


def _path(points: Sequence[XY], *, cut: float) -> str:
    """A path along the points with round corners, cut short at its end (by an arrow's head)."""
    (x0, y0), (x1, y1) = points[-2:]
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    cut = min(cut, length)
    points = [*points[:-1], (x1 - (x1 - x0) / length * cut, y1 - (y1 - y0) / length * cut)]
    steps = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = _towards(corner, before), _towards(corner, after)
        steps.append(
            f"L{start[0]:.1f},{start[1]:.1f}Q{corner[0]:.1f},{corner[1]:.1f} {end[0]:.1f},{end[1]:.1f}"
        )
    steps.append(f"L{points[-1][0]:.1f},{points[-1][1]:.1f}")
    return "".join(steps)


def _towards(start: XY, end: XY) -> XY:
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    share = min(_CORNER, length / 2) / length
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _draw_box(root: ET.Element, box: Box, with_namespace: bool) -> None:
    group = add(root, "g")
    if with_namespace:
        add(group, "title", f"{box.title} in namespace {box.namespace}")
    panel = {"fill": "var(--panel)", "stroke": "var(--axis)"}
    add(group, "rect", None, panel, x=box.x, y=box.y, width=box.width, height=box.height, rx=6)
    middle = {"text-anchor": "middle", "fill": "var(--ink)"}
    centre = box.x + box.width / 2
    title_y = box.lines[0].y + 4.5 if box.lone else box.y + 16.5
    add(group, "text", box.title, middle, x=centre, y=title_y, font_weight=600)
    if box.lone:
        return
    line_y = box.y + HEADER - 1
    add(group, "line", x1=box.x, x2=box.x + box.width, y1=line_y, y2=line_y, stroke="var(--line)")
    for line in box.lines:
        add(group, "text", line.text, middle, x=centre, y=line.y + 4, font_size=12, fill="var(--ink-2)")


def _draw_label(root: ET.Element, edge: GraphEdge, middle: XY, text: str) -> None:
    width, height = _label_size(edge, text) or (0.0, 0.0)
    left, top = middle[0] - width / 2, middle[1] - height / 2
    group = add(root, "g")
    add(group, "rect", x=left, y=top, width=width, height=height, rx=3, fill="var(--panel)")
    start = left + (4 if text else 2)
    if edge.mtls is not None:
        _padlock(group, start, middle[1], closed=edge.mtls)
        start += _LOCK
    state = _state(edge)
    wrong = {"fill": f"var(--{state})", "font-weight": "600"}
    style = wrong if state in ("bad", "warn") else {"fill": "var(--ink-2)"}
    add(group, "text", text, style, x=start, y=middle[1] + 4, font_size=11)


def _padlock(group: ET.Element, x: float, y: float, *, closed: bool) -> None:
    """A padlock 9 pixels wide; an open one is in the colour of a warning."""
    colour = "var(--note)" if closed else "var(--bad)"
    add(group, "rect", x=x, y=y - 1, width=9, height=6.5, rx=1.5, fill=colour)
    shackle = f"M{x + 2:.1f},{y - 1:.1f}v-2a2.5,2.5 0 0 1 5,0{'v2' if closed else ''}"
    add(group, "path", d=shackle, fill="none", stroke=colour, stroke_width=1.4)


def _told(edge: GraphEdge) -> str:
    parts = [f"{edge.source[1]} → {edge.target[1]}: {edge.protocol}"]
    if edge.rate_rps is not None:
        parts.append(format_value(edge.rate_rps, _rate_unit(edge)))
    if edge.error_percent is not None:
        parts.append(f"{format_value(edge.error_percent, 'percent')} errors")
    if edge.p95_ms is not None:
        parts.append(f"p95 {format_value(edge.p95_ms, 'ms')}")
    if edge.mtls is not None:
        parts.append("mTLS" if edge.mtls else "plaintext")
    return ", ".join(parts)


def _alt(graph: ServiceGraph) -> str:
    """The graph in words: its size, then the first thirty edges."""
    apps = len({(node.namespace, node.app or node.workload) for node in graph.nodes})
    wrong = sum(_state(edge) in ("warn", "bad") for edge in graph.edges)
    told = "; ".join(_told(edge) for edge in graph.edges[:30])
    more = f"; and {len(graph.edges) - 30} more, in the table" if len(graph.edges) > 30 else ""
    return (
        f"{graph.title}: {pluralize(len(graph.nodes), 'workloads')} of {pluralize(apps, 'apps')}, "
        f"{pluralize(len(graph.edges), 'edges')}, {wrong} with errors. {told}{more}"
    )
