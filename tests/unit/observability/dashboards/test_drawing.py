"""Examined dashboards become what the report draws: names, numbers, tables, classes."""

from __future__ import annotations

import math

import pytest

from meshlab.observability.addons.query import RangeSamples
from meshlab.observability.dashboards.drawing import drawing, drawings
from meshlab.observability.dashboards.expected import Choice
from meshlab.observability.dashboards.model import Dashboard, Variable
from meshlab.observability.dashboards.read import dashboard
from meshlab.observability.dashboards.results import Examination, Result
from meshlab.observability.dashboards.templating import Value
from tests.fakes.dashboards import json_dashboard, json_panel


def examined(shipped: Dashboard, *lines: tuple[RangeSamples, ...], choice: str = "", **more) -> Examination:
    """Each query of a dashboard with its lines; without any it is expected to be empty."""
    results = tuple(
        Result(
            shipped, panel, target, Choice(choice, {}), "data" if found else "expected-empty",
            f"q{target.ref}", found, "" if found else "nobody sends it",
        )
        for (panel, target), found in zip(shipped.targets(), lines, strict=True)
    )  # fmt: skip
    return Examination("Prometheus", (shipped,), results, **more)


def line(*points: tuple[float, float], **labels: str) -> RangeSamples:
    return RangeSamples(labels, points)


def test_lines_are_named_by_their_legends():
    document = json_panel(1, "a", "b", "c", "d")
    legends = ("{{ source }}.{{namespace}} P50{{gone}}", "", "__auto", "plain")
    for target, legend in zip(document["targets"], legends, strict=True):
        target["legendFormat"] = legend
    shipped = dashboard(json_dashboard(document))
    both = {"source": "sleep", "namespace": "default"}
    found = examined(
        shipped,
        (line((1, 2), **both),),
        (line((1, 2), __name__="up", job="x"),),
        (line((1, 2)),),
        (line((1, 2), __name__="up"),),
    )
    [panel] = drawing(found, "A Dashboard").panels
    assert [series.name for series in panel.series] == [
        "sleep.default P50",
        'up{job="x"}',
        "Panel 1",
        "plain",
    ]
    first = panel.targets[0]
    assert (first.ref, first.query, first.classification, first.reason) == ("A", "qA", "data", None)


def test_what_is_no_finite_number_is_a_gap():
    shipped = dashboard(json_dashboard(json_panel(1, "a", "b")))
    found = examined(
        shipped, (line((1, 2), (2, math.nan), (3, math.inf)), line((1, math.nan), n="nothing")), ()
    )
    [panel] = drawing(found, "A Dashboard").panels
    assert [series.points for series in panel.series] == [((1, 2), (2, None), (3, None))]
    assert [(t.classification, t.reason) for t in panel.targets] == [
        ("data", None),
        ("expected-empty", "nobody sends it"),
    ]


@pytest.mark.parametrize(
    ("how", "value"), [("lastNotNull", 4), ("mean", 3), ("max", 4), ("min", 2), ("sum", 6), ("odd", 4)]
)
def test_a_stat_gets_its_one_number(how: str, value: float):
    document = json_panel(1, "a", kind="stat", options={"reduceOptions": {"calcs": [how]}})
    found = examined(dashboard(json_dashboard(document)), (line((1, 2), (2, 4), (3, math.nan)),))
    [panel] = drawing(found, "A Dashboard").panels
    assert panel.series[0].points == ((2, value),)


def test_a_table_is_merged_and_named():
    overrides = [
        {"matcher": {"id": "byName", "options": column}, "properties": [{"id": name, "value": value}]}
        for column, name, value in (
            ("Value #A", "displayName", "Requests"),
            ("Value #A", "unit", "reqps"),
            ("workload", "displayName", "Workload"),
            ("namespace", "custom.hidden", True),
        )
    ]
    document = json_panel(1, "a", "b", kind="table", fieldConfig={"overrides": overrides})
    requests = tuple(
        line((1, n), service=s, workload=w, namespace="d") for n, s, w in ((1, "x", "v1"), (2, "y", "v1"))
    )
    latency = (line((1, 0.5), workload="v1", namespace="d"), line((1, 7), workload="v2", namespace="d"))
    found = examined(dashboard(json_dashboard(document)), requests, latency)
    [panel] = drawing(found, "A Dashboard").panels
    assert panel.series == ()
    assert panel.rows == (
        {"Workload": "v1", "service": "x", "Requests": "1 req/s", "Value #B": "0.5"},
        {"Workload": "v1", "service": "y", "Requests": "2 req/s", "Value #B": "0.5"},
        {"Workload": "v2", "service": "", "Requests": "no value", "Value #B": "7"},
    )


def test_texts_rows_and_what_is_hidden():
    hidden = json_panel(3, "a", fieldConfig={"defaults": {"unit": "s", "min": 0, "max": 1}})
    hidden["targets"][0]["hide"] = True
    shipped = dashboard(
        json_dashboard(
            json_panel(1, kind="row", title="General of $one"),
            json_panel(
                2, kind="text", options={"content": "<div>\n<span>SERVICE: $one</span> &amp; co</div>"}
            ),
            hidden,
            json_panel(4, kind="heatmap"),
        )
    )
    values = {("A Dashboard", "x"): {"one": Value(Variable("one", "query"), ("page",))}}
    drawn = drawing(examined(shipped, (line((1, 2)),), choice="x", values=values), "A Dashboard")
    assert (drawn.title, drawn.uid, drawn.source) == ("A Dashboard: x", "a-dashboard", "Prometheus")
    assert [(panel.kind, panel.title, panel.text) for panel in drawn.panels] == [
        ("row", "General of page", ""),
        ("text", "Panel 2", "SERVICE: page & co"),
        ("timeseries", "Panel 3", ""),
        ("timeseries", "Panel 4", ""),
    ]
    assert (drawn.panels[2].series, len(drawn.panels[2].targets)) == ((), 1), "asked, classified, not drawn"
    assert (drawn.panels[2].unit, drawn.panels[2].maximum) == ("s", 1)


def test_the_documents_three_come_first():
    names = ("Istio Performance Dashboard", "Istio Workload Dashboard", "B", "Istio Mesh Dashboard")
    shipped = tuple(dashboard(json_dashboard(title=name, uid="u")) for name in names)
    drawn = drawings(Examination("Prometheus", shipped, ()))
    assert [each.title for each in drawn] == [names[3], names[1], names[0], names[2]]
    assert drawn[0].uid == "u"
    with pytest.raises(KeyError):
        drawing(Examination("Prometheus", shipped, ()), "C")
