import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from meshlab.report.graph import draw_graph, edge_rows
from meshlab.report.graph_layout import Box, Laid, lay_out
from meshlab.report.material import GraphEdge, GraphNode, ServiceGraph
from tests.examples.material import bookinfo, large_graph


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def laid(graph: ServiceGraph, label: tuple[float, float] | None = (90.0, 15.0)) -> Laid:
    return lay_out(graph, [label] * len(graph.edges))


@pytest.mark.parametrize("graph", [bookinfo(), large_graph(70)], ids=["bookinfo", "70 workloads"])
def test_boxes_stand_apart_and_within_the_picture_and_hold_the_versions_of_their_app(
    graph: ServiceGraph,
) -> None:
    layout = laid(graph)
    for index, box in enumerate(layout.boxes):
        assert box.x >= 0 and box.x + box.width <= layout.width
        assert box.y >= 0 and box.y + box.height <= layout.height
        assert not any(overlap(box, other) for other in layout.boxes[index + 1 :])
        assert len({line.node.app for line in box.lines}) == 1
        assert [line.node.version for line in box.lines] == sorted(line.node.version for line in box.lines)
    assert sorted(line.node.key for box in layout.boxes for line in box.lines) == sorted(
        node.key for node in graph.nodes
    )


@pytest.mark.parametrize("label", [None, (90.0, 15.0)])
def test_an_arrow_goes_from_its_version_through_its_label_to_its_version(
    label: tuple[float, float] | None,
) -> None:
    graph = bookinfo()
    layout = laid(graph, label)
    row = {line.node.key: (box, line) for box in layout.boxes for line in box.lines}
    for edge, route in zip(graph.edges, layout.routes, strict=True):
        (source, out), (target, into) = row[edge.source], row[edge.target]
        assert route.pieces[0][0] == pytest.approx((source.x + source.width, out.y), abs=0.6)
        assert route.pieces[-1][-1] == pytest.approx((target.x, into.y), abs=0.6)
        assert source.x < target.x, "callers stand left of what they call"
        assert (route.label is None) == (label is None)
        if route.label:
            assert route.pieces[0][-1][1] == pytest.approx(route.label[1], abs=0.6)


def test_the_picture_shows_rate_errors_time_padlocks_and_versions() -> None:
    drawn = draw_graph(bookinfo())
    assert drawn is not None
    root = ET.fromstring(drawn.svg)
    texts = [element.text for element in root.iter("text")]
    assert texts.count("reviews") == 1
    assert {"v1", "v2", "v3", "productpage", "istio-ingressgateway"} <= set(texts)
    assert "0.7/s · 12.5% err · 230 ms" in texts
    assert "tcp · 0.5/s" in texts
    colours = re.findall(r'stroke="var\(--(\w+)\)" fill="var\(--\1\)"', drawn.svg)
    assert sorted(set(colours)) == ["axis", "bad", "ok", "warn"]
    assert "stroke-dasharray" in drawn.svg, "errors must not be told by colour alone"
    locks = [rect.get("fill") for rect in root.iter("rect") if rect.get("rx") == "1.5"]
    assert (locks.count("var(--note)"), locks.count("var(--bad)")) == (8, 1)
    assert "9 workloads of 7 apps, 9 edges, 2 with errors" in drawn.alt
    assert "reviews-v3 → ratings-v1: http, 0.7 req/s, 12.5% errors, p95 230 ms, mTLS" in drawn.alt


def test_a_crowded_graph_marks_only_what_is_wrong() -> None:
    graph = large_graph(70)
    drawn = draw_graph(graph)
    assert drawn is not None
    assert len(graph.nodes) == 70
    texts = [element.text or "" for element in ET.fromstring(drawn.svg).iter("text")]
    wrong = sum((edge.error_percent or 0) >= 0.1 for edge in graph.edges)
    assert sum(text.endswith(" err") for text in texts) == wrong > 0
    assert not any("/s" in text for text in texts)
    assert len(edge_rows(graph)) == len(graph.edges)


def test_loops_lone_nodes_both_ways_and_missing_numbers_are_drawn() -> None:
    a, b, lone = (GraphNode(name, namespace="n") for name in ("a", "b", "lone"))
    edges = (
        GraphEdge(a.key, a.key),
        GraphEdge(a.key, b.key),
        GraphEdge(b.key, a.key),
        GraphEdge(a.key, b.key, "tcp"),
    )
    drawn = draw_graph(ServiceGraph("odd", (a, b, lone), edges))
    assert drawn is not None
    assert [row["rate"] for row in edge_rows(ServiceGraph("odd", (a, b), edges))] == ["-"] * 4
    assert draw_graph(ServiceGraph("nothing", (), ())) is None


def test_an_edge_to_nowhere_is_a_defect() -> None:
    graph = bookinfo()
    with pytest.raises(KeyError):
        draw_graph(replace(graph, edges=(GraphEdge(("default", "nobody"), graph.nodes[0].key),)))
