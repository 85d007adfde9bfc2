import re

from meshlab.report.dashboards import dashboard_html, panel_html, places, values
from meshlab.report.material import Dashboard, GridPos, Panel, Series, Target
from tests.examples.material import dashboards, panels, wave


def test_every_drawn_panel_is_small() -> None:
    largest = max((dashboard.panels for dashboard in dashboards()), key=len)
    assert all(dashboard.panels == largest[: len(dashboard.panels)] for dashboard in dashboards())
    for panel in largest:  # the others' are the same
        assert len(panel_html(panel).encode()) <= 12_000, panel.title


def test_a_panel_with_many_long_series_is_small_too() -> None:
    lines = tuple(Series(f"{'very-long-name-' * 8}{n}", wave(n, points=500)) for n in range(1, 60))
    assert len(panel_html(Panel("Much", unit="s", series=lines)).encode()) <= 12_000


def test_kinds_are_shown_as_what_they_are() -> None:
    one, two = Series("a", wave(0.5)), Series("b", wave(0.25))
    assert "<svg" in panel_html(Panel("t", series=(one,)))
    stat = panel_html(Panel("s", "stat", "percentunit", (Series("a", ((0.0, 0.25), (1.0, 0.5))),)))
    assert "<b>50%</b>" in stat and "meter" not in stat
    assert panel_html(Panel("g", "gauge", "percentunit", (one,))).count("meter") == 1
    assert panel_html(Panel("b", "bargauge", "s", (one, two))).count("meter") == 2
    assert "<td>5</td>" in panel_html(Panel("w", "table", rows=({"workload": "x", "requests": 5},)))
    assert "<h4" in panel_html(Panel("General", "row"))


def test_text_panels_bring_no_markup_of_their_own() -> None:
    text = panel_html(
        Panel("", "text", text="<script>alert(1)</script><a href='https://www.example.com'>more</a> & so on")
    )
    assert "<script" not in text and "href" not in text
    assert "more &amp; so on" in text


def test_an_empty_panel_says_why() -> None:
    target = Target("A", "sum(wasm_x)", "expected-empty", "no Wasm plugin is loaded")
    text = panel_html(Panel("Wasm", targets=(target, Target("B", "b", "error", "deadline passed"))))
    assert "No data: no Wasm plugin is loaded; deadline passed" in text
    assert "1 expected-empty" in text and "1 error" in text and "sum(wasm_x)" in text


def test_names_from_outside_are_escaped() -> None:
    evil = '<img src=x onerror="alert(1)">'
    panel = Panel(evil, series=(Series(evil, wave()),), targets=(Target("A", evil, "error", evil),))
    text = dashboard_html(Dashboard(evil, "u", (panel,), evil))
    assert "<img" not in text
    assert not re.search(r'aria-label="[^"]*"alert', text)


def test_gauges_fill_from_their_minimum_to_their_maximum() -> None:
    gauge = Panel("g", "gauge", "short", (Series("a", ((0.0, 15.0),)),), minimum=10, maximum=20)
    assert values(gauge)[0].share == 50
    assert values(Panel("g", "gauge", "short", (Series("a", ((0.0, 0.0),)),)))[0].share is None


def test_panels_stand_where_grafana_has_them() -> None:
    tall, upper, lower = GridPos(0, 0, 12, 16), GridPos(12, 0, 12, 8), GridPos(12, 8, 12, 8)
    found = places([Panel("t", grid=tall), Panel("u", grid=upper), Panel("l", grid=lower)])
    assert [(p.column, p.width, p.row, p.height) for p in found] == [
        (1, 12, 1, 2),
        (13, 12, 1, 1),
        (13, 12, 2, 1),
    ]
    assert places([Panel("odd", grid=GridPos(20, 0, 24, 1))])[0].width == 4


def test_a_dashboard_counts_its_queries_by_class() -> None:
    drawn = dashboard_html(Dashboard("Istio mesh", "mesh", panels(20), "Prometheus"), unfolded=False)
    assert "36 data" in drawn and "1 expected-empty" in drawn
    assert "20 panels, asked of Prometheus" in drawn
    assert "open>" not in drawn
