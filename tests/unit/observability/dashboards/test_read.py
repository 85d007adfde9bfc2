"""What a dashboard's JSON says: rows, rows that are folded, queries that are none, columns, variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.core.errors import InputError, IstioError
from meshlab.observability.dashboards.model import Target
from meshlab.observability.dashboards.read import dashboard, read_dashboards, scrape_interval
from tests.fakes.dashboards import json_dashboard, json_panel, json_variable

SOURCES = {
    "apiVersion": 1,
    "datasources": [
        {"type": "loki", "jsonData": {"timeInterval": "5s"}},
        {"type": "prometheus", "jsonData": {"timeInterval": "20s"}},
    ],
}


def samples(folder: Path, *data: dict[str, str]) -> Path:
    """A samples folder whose Grafana addon has these ConfigMaps, and a Service."""
    documents: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "grafana"}}
    ]
    for number, each in enumerate(data):
        meta = {"name": f"dashboards-{number}"}
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": each})
    (folder / "addons").mkdir()
    (folder / "addons" / "grafana.yaml").write_text(yaml.safe_dump_all(documents))
    return folder


def test_every_dashboard_of_every_config_map(tmp_path: Path):
    texts = {title: json.dumps(json_dashboard(json_panel(1, "up"), title=title)) for title in "abc"}
    folder = samples(
        tmp_path,
        {"grafana.ini": "[log]", "datasources.yaml": yaml.safe_dump(SOURCES)},
        {"a.json": texts["a"], "b.json": texts["b"]},
        {"c.json": texts["c"]},
    )
    found = read_dashboards(folder)
    assert [(each.title, each.uid, each.seconds) for each in found] == [(title, "", 1800) for title in "abc"]
    assert scrape_interval(folder) == 20


def test_without_a_prometheus_datasource_grafanas_default_holds(tmp_path: Path):
    assert scrape_interval(samples(tmp_path, {"grafana.ini": ""})) == 15


@pytest.mark.parametrize("text", ["{", "[]", '"text"', '{"title": "t"}', '{"title": "t", "panels": [1]}'])
def test_what_is_no_dashboard(tmp_path: Path, text: str):
    with pytest.raises(IstioError, match=r"a\.json") as caught:
        read_dashboards(samples(tmp_path, {"a.json": text}))
    assert caught.value.remedy


def test_no_dashboard_at_all_and_no_addon(tmp_path: Path):
    with pytest.raises(IstioError, match="no dashboard"):
        read_dashboards(samples(tmp_path, {"grafana.ini": ""}))
    with pytest.raises(InputError):
        read_dashboards(tmp_path / "none")


def test_rows_are_panels_and_folded_ones_hold_panels():
    inside = json_panel(3, "b")
    folded = json_panel(2, kind="row", title="Folded", collapsed=True, panels=[inside])
    found = dashboard(json_dashboard(json_panel(1, kind="row", title="Open"), json_panel(4, "a"), folded))
    assert [(panel.id, panel.kind, panel.row) for panel in found.panels] == [
        (1, "row", ""),
        (4, "timeseries", "Open"),
        (2, "row", ""),
        (3, "timeseries", "Folded"),
    ]
    assert [(panel.id, target.expr) for panel, target in found.targets()] == [(4, "a"), (3, "b")]


def test_a_panel_with_everything():
    overrides = [
        {
            "matcher": {"id": "byName", "options": "Value #A"},
            "properties": [{"id": "displayName", "value": "Requests"}, {"id": "unit", "value": "reqps"}],
        },
        {
            "matcher": {"id": "byName", "options": "Time"},
            "properties": [{"id": "custom.hidden", "value": True}],
        },
        {"matcher": {"id": "byType", "options": "number"}, "properties": [{"id": "unit", "value": "s"}]},
    ]
    document = json_panel(
        7,
        "up",
        kind="stat",
        gridPos={"h": 4, "w": 6, "x": 12, "y": 3},
        interval="5s",
        maxDataPoints=100,
        options={"reduceOptions": {"calcs": ["mean"]}, "content": "<b>text</b>"},
        fieldConfig={"defaults": {"unit": "ops", "min": 0, "max": 9}, "overrides": overrides},
    )
    [panel] = dashboard(json_dashboard(document, uid="u")).panels
    assert (panel.grid, panel.interval, panel.points, panel.reduce) == ((12, 3, 6, 4), "5s", 100, "mean")
    assert (panel.unit, panel.minimum, panel.maximum, panel.text) == ("ops", 0, 9, "<b>text</b>")
    assert (panel.names, panel.units) == ({"Value #A": "Requests"}, {"Value #A": "reqps"})
    assert panel.hidden == frozenset({"Time"})


def test_queries_without_a_name_get_the_first_free_letter_and_empty_ones_are_none():
    document = json_panel(1)
    document["targets"] = [
        {"expr": "one"},
        {"refId": "A", "datasource": {"uid": "x"}},
        {"expr": "two", "refId": "B", "instant": True, "format": "table", "legendFormat": "{{a}}"},
        {"expr": "three", "interval": "1m", "intervalFactor": 2, "hide": True},
        {"expr": ""},
    ]
    [panel] = dashboard(json_dashboard(document)).panels
    assert panel.targets == (
        Target("C", "one"),
        Target("B", "two", "{{a}}", instant=True, format="table"),
        Target("D", "three", interval="1m", factor=2, hidden=True),
    )


def test_a_digest_ignores_white_space_only():
    same = {Target("A", text).digest for text in ("sum(x)  by (y)", " sum(x) by (y)\n", "sum(x)\n\tby (y)")}
    assert len(same) == 1
    assert Target("A", "sum(x) by (z)").digest not in same


def test_variables_old_and_new():
    listed = [
        json_variable("one", "label_values(app)", current={"value": "a"}, regex="/x/", sort=1),
        json_variable("two", "q", multi=True, includeAll=True, allValue=".*", current={"value": ["a", "b"]}),
        {"name": "three", "type": "query", "query": {"query": "label_values(b)", "refId": "x"}},
        {"name": "four", "type": "datasource", "query": "prometheus", "current": {}},
    ]
    one, two, three, four = dashboard(json_dashboard(templating={"list": listed})).variables
    assert (one.kind, one.regex, one.sort, one.current) == ("query", "/x/", 1, ("a",))
    assert (two.multi, two.include_all, two.all_value, two.current) == (True, True, ".*", ("a", "b"))
    assert (three.query, three.current, four.kind, four.current) == ("label_values(b)", (), "datasource", ())
