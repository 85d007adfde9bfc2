"""Dashboards as markup: panels where Grafana has them, with legends and their queries' classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from meshlab.report.charts import Chart, line_chart
from meshlab.report.material import Classification, Dashboard, Panel
from meshlab.report.rendering import FAIL, NOTE, PASS, WARN, render, table
from meshlab.report.units import format_value

PAGE_WIDTH, FRAME = 1180, 34  # pixels: of the page's column, and of a panel's borders and padding
_WIDEST = 860  # pixels: a chart is drawn no wider, and stretched where the panel is
_ROWS = 40  # of a table panel
CLASS_TONES: dict[Classification, str] = {
    "data": PASS, "expected-empty": NOTE, "unexpected-empty": FAIL, "error": WARN,
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """The last value of a series, for stat, gauge and bar. share: 0 to 100 of a gauge's span, or None."""

    name: str
    text: str
    share: float | None


@dataclass(frozen=True)
class Place:
    """A panel's place on the page's grid, from 1: columns of 24, rows counted where panels begin."""

    column: int
    width: int
    row: int
    height: int


def dashboards_html(dashboards: Iterable[Dashboard], *, opened: int = 3) -> Markup:
    """All dashboards; the first `opened` of them unfolded."""
    return Markup("").join(
        dashboard_html(dashboard, unfolded=index < opened) for index, dashboard in enumerate(dashboards)
    )


def dashboard_html(dashboard: Dashboard, *, unfolded: bool = True) -> Markup:
    """One dashboard with its panels drawn."""
    return render(
        "dashboard.html",
        dashboard=dashboard,
        classes=tally(dashboard.counts()),
        shown=sum(panel.kind != "row" for panel in dashboard.panels),
        grid=grid_html(dashboard),
        unfolded=unfolded,
    )


def grid_html(dashboard: Dashboard) -> Markup:
    """A dashboard's panels, drawn where they stand."""
    drawn = [
        (place, panel_html(panel))
        for panel, place in zip(dashboard.panels, places(dashboard.panels), strict=True)
    ]
    return render("dashboard-grid.html", panels=drawn)


def panel_html(panel: Panel) -> Markup:
    """One panel, drawn as its kind asks; one without values says why it has none."""
    chart: Chart | None = None
    if panel.kind == "timeseries":
        width = min(_WIDEST, round(PAGE_WIDTH * panel.grid.w / 24) - FRAME)
        chart = line_chart(panel.title, panel.series, panel.unit, width=max(230, width), height=180)
    return render(
        "panel.html",
        panel=panel,
        chart=chart,
        values=values(panel) if panel.kind in ("stat", "gauge", "bargauge") else (),
        table=table(panel.rows, panel.title, limit=_ROWS) if panel.kind == "table" else Markup(""),
        classes=tally(panel.counts()),
        why=list(
            dict.fromkeys(t.reason or t.classification for t in panel.targets if t.classification != "data")
        ),
    )


def values(panel: Panel) -> list[Value]:
    """The last value of each series. A gauge or bar ends at its maximum, else at the largest value."""
    last = [(one.name, one.values()[-1]) for one in panel.series if one.values()]
    low = panel.minimum or 0.0
    highest = {"percentunit": 1.0, "percent": 100.0}.get(panel.unit)
    high = panel.maximum if panel.maximum is not None else highest
    if high is None:
        high = max((value for _, value in last), default=0.0)
    return [
        Value(
            name,
            format_value(value, panel.unit),
            max(0.0, min(100.0, (value - low) / (high - low) * 100))
            if panel.kind != "stat" and high > low
            else None,
        )
        for name, value in last
    ]


def tally(counts: Counter[Classification]) -> list[tuple[str, int, str]]:
    """Classes that occur, with their number and tone, those with data first."""
    return [(name, counts[name], tone) for name, tone in CLASS_TONES.items() if counts[name]]


def places(panels: Iterable[Panel]) -> list[Place]:
    """Where each panel stands. Grafana's rows have one height; here a row is as high as its panels need."""
    grids = [panel.grid for panel in panels]
    tops = sorted({grid.y for grid in grids})
    return [
        Place(
            column=min(grid.x, 23) + 1,
            width=max(1, min(grid.w, 24 - min(grid.x, 23))),
            row=tops.index(grid.y) + 1,
            height=max(1, sum(grid.y <= top < grid.y + grid.h for top in tops)),
        )
        for grid in grids
    ]
