"""The report's sections, in the order of the lab's document. A section is a title, an id and markup.

Others add their own (a truth table, audit findings, trends) by handing `Section`s to `html.write_report`:
position says where. Built from `rendering.table`, `.matrix` and `.figure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from meshlab.core.text import pluralize
from meshlab.report import catches
from meshlab.report.audit import audit_html
from meshlab.report.authz import TITLE as AUTHORIZATION_TITLE
from meshlab.report.authz import authz_body
from meshlab.report.charts import Chart, line_chart
from meshlab.report.dashboards import dashboards_html, tally
from meshlab.report.edge import edge_html
from meshlab.report.evidence import Limits, evidence_html, value_html
from meshlab.report.graph import draw_graph, edge_rows
from meshlab.report.material import Dashboard, QueryChart, ReportMaterial, ServiceGraph, Trace
from meshlab.report.mtls import TITLE as MTLS_TITLE
from meshlab.report.mtls import mtls_body
from meshlab.report.rendering import FAIL, NOTE, PASS, Cell, figure, matrix, render, table
from meshlab.report.svg import Picture
from meshlab.report.tables import Row, step_rows, version_rows
from meshlab.report.waterfall import NARROW, draw_waterfall, span_rows

Result = Mapping[str, Any]

VERSIONS, PODS, QUERIES, DASHBOARDS, TRACES, GRAPH = 10, 20, 30, 40, 50, 60  # positions
EXTRA, EDGE, AUDIT, FAULTS, CHECKS, MEASURES, STEPS, EVIDENCE = 70, 73, 75, 80, 90, 92, 94, 99
MTLS, AUTHORIZATION = 64, 66


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
    sections = [
        *_dashboards(material.dashboards),
        *_traces(material.traces, pictures),
        *_graphs(material.graphs, pictures),
    ]
    if material.authorization is not None:
        body = authz_body(material.authorization)
        sections.append(Section("authorization", AUTHORIZATION_TITLE, body, AUTHORIZATION))
    charts: list[tuple[QueryChart, Chart | None]] = []
    for index, query in enumerate(material.query_charts):
        chart = line_chart(query.title, query.series, query.unit, width=860, height=220)
        charts.append((query, chart))
        if chart:
            pictures.append((f"query-{index + 1}.svg", chart.picture))
    pods = tuple(dict(row) for row in material.pods)
    return Drawn(tuple(sections), tuple(charts), tuple(pictures), pods)


def sections_of(
    result: Result, drawn: Drawn, links: Sequence[tuple[str, str, int]], files: int, limits: Limits
) -> list[Section]:
    """All sections that have something to show, in order.

    links: address, name and bytes of the run's files; files: how many there are in all.
    """
    found = [
        _versions(result),
        Section("pods", "Pods", table(drawn.pods, "Pods of the mesh and of the app"), PODS),
        _queries(result, drawn, limits),
        *drawn.sections,
        Section("mtls", MTLS_TITLE, mtls_body(result["checks"]), MTLS),
        Section("edge", "The mesh's edge", edge_html(result["checks"]), EDGE),
        Section("audit", "Audit", audit_html(result["checks"]), AUDIT),
        _faults(result),
        _checks(result["checks"], limits),
        Section("measures", "Measures", table(_measure_rows(result["measures"]), "Measures"), MEASURES),
        Section("steps", "Steps", table(step_rows(result["steps"]), "Steps of the run"), STEPS),
        Section(
            "evidence", "Evidence", render("evidence.html", links=links, more=files - len(links)), EVIDENCE
        ),
    ]
    return sorted((one for one in found if one.body.strip()), key=lambda one: one.position)


def _versions(result: Result) -> Section:
    images = [
        {
            "workload": workload,
            "image": entry["image"],
            "built by": "this project" if entry["ours"] else "its makers",
        }
        for workload, entry in sorted(result["images"].items())
    ]
    body = table(version_rows(result["versions"]), "Versions that ran") + table(images, "Images that ran")
    return Section("versions", "Versions and images", body, VERSIONS)


def _queries(result: Result, drawn: Drawn, limits: Limits) -> Section:
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
    if not asked and not alone:
        return Section("queries", "Queries", Markup(""), QUERIES)
    return Section("queries", "Queries", render("queries.html", asked=asked, alone=alone), QUERIES)


def _dashboards(dashboards: Sequence[Dashboard]) -> Iterable[Section]:
    if dashboards:
        counts = sum((one.counts() for one in dashboards), dashboards[0].counts().__class__())
        told = render(
            "tally.html",
            panels=sum(panel.kind != "row" for one in dashboards for panel in one.panels),
            queries=sum(counts.values()),
            classes=tally(counts),
            dashboards=len(dashboards),
        )
        yield Section("dashboards", "Dashboards", told + dashboards_html(dashboards), DASHBOARDS)


def _traces(traces: Sequence[Trace], pictures: list[tuple[str, Picture]]) -> Iterable[Section]:
    parts = []
    for index, trace in enumerate(traces):
        name = f"trace-{index + 1}.svg"
        picture = draw_waterfall(trace)
        if picture:
            pictures.append((name, picture))
        caption = f"Trace {trace.trace_id}, {pluralize(len(trace.spans), 'spans')}."
        parts.append(
            render(
                "drawing.html",
                title=f"Trace {trace.trace_id[:8]}",
                note=trace.note,
                figure=figure(picture, caption, f"pictures/{name}", draw_waterfall(trace, NARROW))
                if picture
                else Markup(""),
                table=table(span_rows(trace), f"Spans of trace {trace.trace_id}", limit=200),
                what=f"All {len(trace.spans)} spans as a table",
            )
        )
    if parts:
        yield Section("traces", "Traces", Markup("").join(parts), TRACES)


def _graphs(graphs: Sequence[ServiceGraph], pictures: list[tuple[str, Picture]]) -> Iterable[Section]:
    parts = []
    for index, graph in enumerate(graphs):
        name = f"graph-{index + 1}.svg"
        picture = draw_graph(graph)
        if picture:
            pictures.append((name, picture))
        caption = f"{pluralize(len(graph.nodes), 'workloads')}, {pluralize(len(graph.edges), 'edges')}" + (
            f", from {graph.source}." if graph.source else "."
        )
        parts.append(
            render(
                "drawing.html",
                title=graph.title,
                note="",
                figure=figure(picture, caption, f"pictures/{name}") if picture else Markup(""),
                table=table(edge_rows(graph), f"Edges of {graph.title}", limit=300),
                what=f"All {len(graph.edges)} edges as a table",
            )
        )
    if parts:
        yield Section("graph", "Service graph", render("graph-legend.html") + Markup("").join(parts), GRAPH)


def _faults(result: Result) -> Section:
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
    body = Markup("")
    if rows:
        body += matrix("Planted faults and the checks that they turned red", "fault", shown, rows)
        planted = [
            {"fault": catch["fault"], "what was planted": titles.get(f"sabotage.{catch['fault']}", "")}
            for catch in caught
        ]
        body += table(planted, "What was planted")
    return Section("faults", "Planted faults", body, FAULTS)


_TONES = {catches.CAUGHT: PASS, catches.MISSED: FAIL, catches.TOO: NOTE, catches.EXTRA: FAIL}


def _checks(checks: Sequence[Mapping[str, Any]], limits: Limits) -> Section:
    if not checks:
        return Section("checks", "Checks", Markup("<p>{}</p>").format("No check was made."), CHECKS)
    told = [(check, evidence_html(check["evidence"], limits)) for check in checks]
    return Section("checks", "Checks", render("checks.html", checks=told), CHECKS)


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
