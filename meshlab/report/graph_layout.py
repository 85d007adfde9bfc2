"""Where the boxes and arrows of a service graph stand: layered from left to right, versions grouped by app.

The layout is graphlay's (Sugiyama's method: cycles broken, layers, few crossings, straight edges, orthogonal
routes). All of graphlay is used in this module only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import graphlay

from meshlab.report.material import GraphNode, ServiceGraph

HEADER, ROW, LONE = 24, 20, 30  # pixels: an app's name, one of its versions, an app without versions
_CHARACTER, _PADDING = 8.3, 22  # pixels: of a bold 13 px sans-serif, and a box's sides together
_MARGIN = 10
_WIDE = {
    "node_gap": 16.0,
    "layer_gap": 30.0,
    "dummy_gap": 14.0,
    "port_gap": 12.0,
    "stub": 10.0,
    "isolated_gap": 16.0,
}
_CLOSE = {**_WIDE, "node_gap": 14.0, "layer_gap": 34.0}

XY = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One row of a box: a workload and the text that stands for it. y: its middle, in the picture."""

    node: GraphNode
    text: str
    y: float


@dataclass(frozen=True)
class Box:
    """An app with its workloads. x, y: the left upper corner. lone: the title is its only row."""

    title: str
    namespace: str
    x: float
    y: float
    width: float
    height: float
    lines: tuple[Line, ...]
    lone: bool


@dataclass(frozen=True)
class Route:
    """An edge's path. pieces: one polyline, or two that meet at its label. label: the label's middle."""

    pieces: tuple[tuple[XY, ...], ...]
    label: XY | None


@dataclass(frozen=True)
class Laid:
    """The whole layout; all coordinates are 0 or more. width, height: of the picture, pixels."""

    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]  # in the order of the graph's edges
    width: float
    height: float


def lay_out(graph: ServiceGraph, labels: Sequence[XY | None], *, crowded: bool = False) -> Laid:
    """Place the graph. labels: width and height of each edge's label, None for an edge without one.

    A label is a node of the layout, midway on its edge: so no label covers a box or another label, and each
    lies on the arrow that it tells of. crowded: stand closer together.
    """
    groups = _groups(graph.nodes)
    request = graphlay.Graph()
    ports: dict[tuple[str, str], tuple[int, float]] = {}
    for index, nodes in enumerate(groups):
        width, height = _size(nodes)
        request.node(width=width, height=height)
        for line, node in enumerate(nodes):
            middle = _middle(nodes, line)
            ports[node.key] = index, 2 * middle / height - 1
    parts: list[tuple[int, ...]] = []  # of each edge: its one or two edges in the layout
    midway: list[int | None] = []  # of each edge: its label's node
    for edge, label in zip(graph.edges, labels, strict=True):
        (source, out), (target, into) = ports[edge.source], ports[edge.target]
        start: dict[str, Any] = {"source_port": {"offset": {"side": "right", "t": out}}}
        end: dict[str, Any] = {"target_port": {"offset": {"side": "left", "t": into}}}
        if label is None:
            parts.append((request.edge(source, target, **start, **end),))
            midway.append(None)
            continue
        middle = request.node(width=label[0], height=label[1])
        onto: dict[str, Any] = {"target_port": {"offset": {"side": "left", "t": 0.0}}}
        onwards: dict[str, Any] = {"source_port": {"offset": {"side": "right", "t": 0.0}}}
        parts.append(
            (request.edge(source, middle, **start, **onto), request.edge(middle, target, **onwards, **end))
        )
        midway.append(middle)
    layout = graphlay.layout(
        request, options={"direction": "leftright", "spacing": _CLOSE if crowded else _WIDE}
    )
    return _laid(groups, parts, midway, layout)


def _laid(
    groups: Sequence[Sequence[GraphNode]],
    parts: Sequence[tuple[int, ...]],
    midway: Sequence[int | None],
    layout: graphlay.Layout,
) -> Laid:
    """The engine's answer with its left upper corner at the margin."""
    left, top = layout.bounds["min"]["x"] - _MARGIN, layout.bounds["min"]["y"] - _MARGIN
    right, bottom = layout.bounds["max"]["x"] + _MARGIN, layout.bounds["max"]["y"] + _MARGIN

    def at(point: Mapping[str, float]) -> XY:
        return point["x"] - left, point["y"] - top

    boxes = tuple(_box(nodes, *at(layout.nodes[index]["center"])) for index, nodes in enumerate(groups))
    routes = tuple(
        Route(
            pieces=tuple(tuple(at(point) for point in layout.edges[part]["points"]) for part in pieces),
            label=None if label is None else at(layout.nodes[label]["center"]),
        )
        for pieces, label in zip(parts, midway, strict=True)
    )
    return Laid(boxes, routes, right - left, bottom - top)


def _groups(nodes: Sequence[GraphNode]) -> list[list[GraphNode]]:
    """The nodes by app (a workload without one is its own), in the order given, versions sorted."""
    groups: dict[tuple[str, str], list[GraphNode]] = {}
    for node in nodes:
        groups.setdefault((node.namespace, node.app or node.workload), []).append(node)
    return [sorted(group, key=lambda node: (node.version, node.workload)) for group in groups.values()]


def _title(nodes: Sequence[GraphNode]) -> str:
    return nodes[0].app or nodes[0].workload


def _text(node: GraphNode) -> str:
    """A row's text: the version where app and version make up the workload's name, else that name."""
    return node.version if node.version and node.workload == f"{node.app}-{node.version}" else node.workload


def _is_lone(nodes: Sequence[GraphNode]) -> bool:
    return len(nodes) == 1 and _text(nodes[0]) in (_title(nodes), "")


def _size(nodes: Sequence[GraphNode]) -> XY:
    texts = [_title(nodes), *(_text(node) for node in nodes)]
    width = max(86.0, max(map(len, texts)) * _CHARACTER + _PADDING)
    return width, float(LONE if _is_lone(nodes) else HEADER + ROW * len(nodes) + 4)


def _middle(nodes: Sequence[GraphNode], line: int) -> float:
    return LONE / 2 if _is_lone(nodes) else HEADER + ROW * line + ROW / 2


def _box(nodes: Sequence[GraphNode], x: float, y: float) -> Box:
    width, height = _size(nodes)
    top = y - height / 2
    lines = tuple(Line(node, _text(node), top + _middle(nodes, index)) for index, node in enumerate(nodes))
    return Box(_title(nodes), nodes[0].namespace, x - width / 2, top, width, height, lines, _is_lone(nodes))
