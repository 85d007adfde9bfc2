"""The views of the start page: each drawn anew from Prometheus or Jaeger when a browser asks, at most every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from markupsafe import Markup

from meshlab.app.bookinfo import PRODUCTPAGE
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError, QueryError
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, SystemClock
from meshlab.observability.addons.jaeger_client import JaegerClient
from meshlab.observability.addons.query import PrometheusClient
from meshlab.observability.dashboards.drawing import FIRST, drawing
from meshlab.observability.dashboards.examine import look
from meshlab.observability.dashboards.expected import read_expectations
from meshlab.observability.dashboards.model import Dashboard
from meshlab.observability.dashboards.read import read_dashboards, scrape_interval
from meshlab.observability.dashboards.sources import PrometheusSource
from meshlab.observability.graph.metrics import read_last
from meshlab.report.dashboards import grid_html
from meshlab.report.graph import draw_graph, edge_rows
from meshlab.report.rendering import figure, render, table
from meshlab.report.waterfall import NARROW, draw_waterfall

EVERY = 5.0  # seconds between two drawings of one view
TIMEOUT = 15  # seconds for one answer
RATES_OVER = 60.0  # seconds
TRACES, TRACED_WITHIN = 3, 900.0  # how many of the newest, and how old they may be in seconds
GONE = "where the lab was taken down, bring one up: make lab ARGS=--keep"


@dataclass(frozen=True)
class Sources:
    """Where the live data is. None: it does not run there, or does not answer.

    prometheus, jaeger: addresses without a path. samples: the folder with Istio's dashboards; why_none: why there is
    none.
    """

    prometheus: str | None = None
    jaeger: str | None = None
    samples: Path | None = None
    why_none: str = ""


class View:
    """One view: drawn when it is asked for and the last drawing is older than EVERY seconds.

    Several browsers get the same drawing. unfolded: whether it is shown when the page is opened.
    """

    def __init__(
        self,
        name: str,
        title: str,
        draw: Callable[[], Markup],
        *,
        unfolded: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self.name, self.title, self.unfolded = name, title, unfolded
        self._draw, self._clock = draw, clock or SystemClock()
        self._lock = threading.Lock()
        self._drawn: tuple[float, Markup] | None = None

    def html(self) -> Markup:
        """Draw it, or return what was drawn a moment ago. What can't be asked is said in its place."""
        with self._lock:
            now = self._clock.now()
            if self._drawn is None or now - self._drawn[0] >= EVERY:
                try:
                    body, problem = self._draw(), None
                except MeshlabError as wrong:
                    body, problem = Markup(""), wrong
                shown = render(
                    "live-view.html",
                    body=body,
                    problem=problem,
                    hint=GONE,
                    at=f"{datetime.now(UTC):%H:%M:%S}",
                )
                self._drawn = (self._clock.now(), shown)
            return self._drawn[1]


def views(
    config: LabConfig, sources: Sources, *, domain: str, clock: Clock | None = None
) -> tuple[View, ...]:
    """List the live views, in the order of the page.

    Args:
        config: The settings of the run.
        sources: Where the live data is.
        domain: The cluster's, of which the services' names are a part.
        clock: Says when a drawing is too old; the real one where not given.

    Returns:
        The service graph, the newest traces and the document's three dashboards; the first dashboard is unfolded.
    """
    shown = [
        View("graph", "Service graph", partial(_graph, config, sources), clock=clock),
        View("traces", "Newest traces", partial(_traces, config, sources), clock=clock),
    ]
    dashboards, why = _dashboards(sources)
    for index, title in enumerate(FIRST):
        found = next((each for each in dashboards if each.title == title), None)
        draw = partial(_dashboard, config, sources, domain, found, why or f"Istio's samples have no {title}")
        name = title.lower().replace(" ", "-")
        shown.append(View(name, title, draw, unfolded=index == 0, clock=clock))
    return tuple(shown)


def _dashboards(sources: Sources) -> tuple[Sequence[Dashboard], str]:
    if sources.samples is None:
        return (), sources.why_none or "Istio's samples, which hold the dashboards, are not known"
    try:
        return read_dashboards(sources.samples), ""
    except MeshlabError as problem:
        return (), problem.message


def _client(url: str | None) -> PrometheusClient:
    if url is None:
        raise QueryError("Prometheus does not run here, or does not answer", remedy="look at its pod")
    return PrometheusClient(url, timeout=TIMEOUT)


def _graph(config: LabConfig, sources: Sources) -> Markup:
    found = read_last(_client(sources.prometheus), config.namespace, RATES_OVER)
    graph = found.drawn("Service graph")
    picture = draw_graph(graph)
    if picture is None:
        return Markup("<p class='empty'>No request was counted in the last minute.</p>")
    told = f"Rates of the last {found.seconds:.0f} s, {pluralize(len(graph.edges), 'edges')}."
    return figure(picture, told) + render(
        "live-table.html", what="The edges as a table", table=table(edge_rows(graph), "Edges")
    )


def _traces(config: LabConfig, sources: Sources) -> Markup:
    if sources.jaeger is None:
        raise QueryError("Jaeger does not run here, or does not answer", remedy="look at its pod")
    client = JaegerClient(sources.jaeger, timeout=TIMEOUT)
    service = f"{PRODUCTPAGE.app}.{config.namespace}"
    found = client.traces(service, lookback=TRACED_WITHIN, limit=TRACES)[:TRACES]
    drawn = Markup("")
    for trace in found:
        picture = draw_waterfall(trace)
        if picture is not None:
            began = datetime.fromtimestamp(trace.spans[0].start_us / 1e6, UTC)
            told = f"Trace {trace.trace_id}, {pluralize(len(trace.spans), 'spans')}, began at {began:%H:%M:%S} UTC."
            drawn += figure(picture, told, narrow=draw_waterfall(trace, NARROW))
    minutes = round(TRACED_WITHIN / 60)
    return drawn or render("live-empty.html", told=f"No trace of {service} in the last {minutes} minutes.")


def _dashboard(config: LabConfig, sources: Sources, domain: str, found: Dashboard | None, why: str) -> Markup:
    if found is None or sources.samples is None:
        return render("live-empty.html", told=f"{why}.")
    examined = look(
        PrometheusSource(_client(sources.prometheus)),
        found,
        read_expectations(
            config.distribution,
            config.namespace,
            domain=domain,
            scope=config.scope,
        ),
        scrape_seconds=scrape_interval(sources.samples),
    )
    return grid_html(drawing(examined, found.title))
