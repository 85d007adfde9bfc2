"""The report's sections, in the order of the lab's document. A section is a title, an id and markup.

Others add their own (a truth table, audit findings, trends) by handing `Section`s to `html.write_report`:
position says where. Built from `rendering.table`, `.matrix` and `.figure`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from meshlab.core.text import pluralize
from meshlab.report import catches
from meshlab.report.audit import audit_html
from meshlab.report.authz import TITLE as AUTHORIZATION_TITLE
from meshlab.report.authz import authz_body
from meshlab.report.causes import cause_rows
from meshlab.report.charts import Chart, line_chart
from meshlab.report.dashboards import dashboards_html, tally
from meshlab.report.edge import edge_html
from meshlab.report.evidence import Limits, evidence_html, value_html
from meshlab.report.graph import draw_graph, edge_rows
from meshlab.report.load import TITLE as LOAD_TITLE
from meshlab.report.load import load_html
from meshlab.report.material import Classification, Dashboard, QueryChart, ReportMaterial, ServiceGraph, Trace
from meshlab.report.mtls import TITLE as MTLS_TITLE
from meshlab.report.mtls import mtls_body
from meshlab.report.rendering import FAIL, NOTE, PASS, Cell, figure, matrix, render, table
from meshlab.report.svg import Picture
from meshlab.report.tables import Row, step_rows, version_rows
from meshlab.report.waterfall import NARROW, draw_waterfall, span_rows

Result = Mapping[str, Any]

CAUSES, CAUSES_CAPTION = 5, "Objects that explain red checks, the best first"
VERSIONS, PODS, QUERIES, DASHBOARDS, TRACES, GRAPH = 10, 20, 30, 40, 50, 60  # positions
EXTRA, EDGE, AUDIT, FAULTS, CHECKS, MEASURES, STEPS, EVIDENCE = 70, 73, 75, 80, 90, 92, 94, 99
LOAD, MTLS, AUTHORIZATION = 62, 64, 66


@dataclass(frozen=True)
class Section:
    """One section below the first screen. id: its anchor; position: sections stand in the order of it."""

    id: str
    title: str
    body: Markup
    position: int = EXTRA


@dataclass(frozen=True)
class Drawn:
    """The material, drawn: what takes time, so that it can be done before the result is known.

    sections: dashboards, traces, graph. charts: of the queries. pictures: files for the pictures folder.
    """

    sections: tuple[Section, ...] = ()
    charts: tuple[tuple[QueryChart, Chart | None], ...] = ()
    pictures: tuple[tuple[str, Picture], ...] = ()
    pods: tuple[Row, ...] = ()


def draw(material: ReportMaterial) -> Drawn:
    """Draw everything that does not need the result: about 30 ms of CPU per chart."""
    pictures: list[tuple[str, Picture]] = []
    rules = authz_body(material.authorization) if material.authorization is not None else Markup("")
    sections = (
        Section("dashboards", "Dashboards", _dashboards(material.dashboards), DASHBOARDS),
        Section("traces", "Traces", _traces(material.traces, pictures), TRACES),
        Section("graph", "Service graph", _graphs(material.graphs, pictures), GRAPH),
        Section("authorization", AUTHORIZATION_TITLE, rules, AUTHORIZATION),
    )
    charts = [
        (query, line_chart(query.title, query.series, query.unit, width=860, height=220))
        for query in material.query_charts
    ]
    pictures += [(f"query-{n}.svg", chart.picture) for n, (_, chart) in enumerate(charts, 1) if chart]
    pods = tuple(dict(row) for row in material.pods)
    return Drawn(tuple(each for each in sections if each.body), tuple(charts), tuple(pictures), pods)


def sections_of(
    result: Result, drawn: Drawn, links: Sequence[tuple[str, str, int]], files: int, limits: Limits
) -> list[Section]:
    """All sections that have something to show, in order.

    links: address, name and bytes of the run's files; files: how many there are in all.
    """
    found = [
        Section(
            "causes",
            "Why checks are red",
            table(cause_rows(result.get("causes", ())), CAUSES_CAPTION),
            CAUSES,
        ),
        Section("versions", "Versions and images", _versions(result), VERSIONS),
        Section("pods", "Pods", table(drawn.pods, "Pods of the mesh and of the app"), PODS),
        Section("queries", "Queries", _queries(result, drawn, limits), QUERIES),
        *drawn.sections,
        Section("load", LOAD_TITLE, load_html(result.get("load")), LOAD),
        Section("mtls", MTLS_TITLE, mtls_body(result["checks"]), MTLS),
        Section("edge", "The mesh's edge", edge_html(result["checks"]), EDGE),
        Section("audit", "Audit", audit_html(result["checks"]), AUDIT),
        Section("faults", "Planted faults", _faults(result), FAULTS),
        Section("checks", "Checks", _checks(result["checks"], limits), CHECKS),
        Section("measures", "Measures", table(_measure_rows(result["measures"]), "Measures"), MEASURES),
        Section("steps", "Steps", table(step_rows(result["steps"]), "Steps of the run"), STEPS),
        Section(
            "evidence", "Evidence", render("evidence.html", links=links, more=files - len(links)), EVIDENCE
        ),
    ]
    return sorted((one for one in found if one.body.strip()), key=lambda one: one.position)


def _versions(result: Result) -> Markup:
    images = [
        {
            "workload": workload,
            "image": entry["image"],
            "built by": "this project" if entry["ours"] else "its makers",
        }
        for workload, entry in sorted(result["images"].items())
    ]
    return table(version_rows(result["versions"]), "Versions that ran") + table(images, "Images that ran")


def _queries(result: Result, drawn: Drawn, limits: Limits) -> Markup:
    """The document's queries: what was asked, what came back, and how it went over time."""
    asked = [
        {
            "check": check,
            "query": check["evidence"]["query"],
            "answer": value_html(check["evidence"].get("series", []), "series that came back", limits),
            "charts": [chart for query, chart in drawn.charts if query.check == check["id"] and chart],
        }
        for check in result["checks"]
        if "query" in check["evidence"]
    ]
    known = {one["check"]["id"] for one in asked}
    alone = [(query, chart) for query, chart in drawn.charts if query.check not in known]
    return render("queries.html", asked=asked, alone=alone)


def _dashboards(dashboards: Sequence[Dashboard]) -> Markup:
    if not dashboards:
        return Markup("")
    counts = sum((one.counts() for one in dashboards), Counter[Classification]())
    told = render(
        "tally.html",
        panels=sum(panel.kind != "row" for one in dashboards for panel in one.panels),
        queries=sum(counts.values()),
        classes=tally(counts),
        dashboards=len(dashboards),
    )
    return told + dashboards_html(dashboards)


def _traces(traces: Sequence[Trace], pictures: list[tuple[str, Picture]]) -> Markup:
    body = Markup("")
    for number, trace in enumerate(traces, 1):
        body += _drawing(
            pictures,
            f"trace-{number}.svg",
            draw_waterfall(trace),
            narrow=draw_waterfall(trace, NARROW),
            caption=f"Trace {trace.trace_id}, {pluralize(len(trace.spans), 'spans')}.",
            title=f"Trace {trace.trace_id[:8]}",
            note=trace.note,
            table=table(span_rows(trace), f"Spans of trace {trace.trace_id}", limit=200),
            what=f"All {len(trace.spans)} spans as a table",
        )
    return body


def _graphs(graphs: Sequence[ServiceGraph], pictures: list[tuple[str, Picture]]) -> Markup:
    body = Markup("")
    for number, graph in enumerate(graphs, 1):
        size = f"{pluralize(len(graph.nodes), 'workloads')}, {pluralize(len(graph.edges), 'edges')}"
        body += _drawing(
            pictures,
            f"graph-{number}.svg",
            draw_graph(graph),
            caption=f"{size}, from {graph.source}." if graph.source else f"{size}.",
            title=graph.title,
            note="",
            table=table(edge_rows(graph), f"Edges of {graph.title}", limit=300),
            what=f"All {len(graph.edges)} edges as a table",
        )
    return render("graph-legend.html") + body if body else body


def _drawing(
    pictures: list[tuple[str, Picture]],
    name: str,
    picture: Picture | None,
    *,
    caption: str,
    narrow: Picture | None = None,
    **told: str,
) -> Markup:
    """A picture with its table; it is added to the files of the pictures folder."""
    if picture is None:
        return render("drawing.html", figure="", **told)
    pictures.append((name, picture))
    return render("drawing.html", figure=figure(picture, caption, f"pictures/{name}", narrow), **told)


def _faults(result: Result) -> Markup:
    """Planted faults against checks: which must turn red, and which did."""
    caught = result["catches"]
    shown = catches.columns(caught)
    titles = {check["id"]: check["title"] for check in result["checks"]}
    rows = {
        f"{catch['fault']}{'' if catch['restored'] else ' (not restored)'}": [
            Cell(word, _TONES[word]) if (word := catches.cell(catch, check)) else None for check in shown
        ]
        for catch in caught
    }
    if not rows:
        return Markup("")
    planted = [
        {"fault": catch["fault"], "what was planted": titles.get(f"sabotage.{catch['fault']}", "")}
        for catch in caught
    ]
    drawn = matrix("Planted faults and the checks that they turned red", "fault", shown, rows)
    return drawn + table(planted, "What was planted")


_TONES = {catches.CAUGHT: PASS, catches.MISSED: FAIL, catches.TOO: NOTE, catches.EXTRA: FAIL}


def _checks(checks: Sequence[Mapping[str, Any]], limits: Limits) -> Markup:
    if not checks:
        return Markup("<p>No check was made.</p>")
    told = [(check, evidence_html(check["evidence"], limits)) for check in checks]
    return render("checks.html", checks=told)


def _measure_rows(measures: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        {
            "measure": measure["name"],
            "value": f"{measure['value']:g}",
            "unit": measure["unit"],
            "labels": escape(", ".join(f"{key}={value}" for key, value in measure["labels"].items())),
        }
        for measure in measures
    ]
