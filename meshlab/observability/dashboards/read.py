"""Reads the dashboards from the addon manifest of the Istio distribution in use, never from copies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from meshlab.core.errors import IstioError
from meshlab.kube.apply import read_manifests
from meshlab.observability.dashboards.intervals import seconds
from meshlab.observability.dashboards.model import Dashboard, Panel, Target, Variable
from meshlab.observability.dashboards.timerange import shown_seconds

ADDON = "addons/grafana.yaml"
# Grafana's own default where a datasource names no interval.
DEFAULT_INTERVAL = 15.0
REMEDY = "this release's Grafana addon is different; compare it with meshlab/observability/dashboards/read.py"


def read_dashboards(samples: Path) -> tuple[Dashboard, ...]:
    """Every dashboard of samples/addons/grafana.yaml, in the order of the manifest.

    Raises InputError for a manifest that can't be read, IstioError when it has no dashboard or one that is
    none.
    """
    found = []
    for name, text in _files(samples):
        if name.endswith(".json"):
            try:
                found.append(dashboard(json.loads(text)))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                raise IstioError(
                    f"{name} of {ADDON} is no dashboard: {problem!r}", remedy=REMEDY
                ) from problem
    if not found:
        raise IstioError(f"{samples / ADDON} holds no dashboard", remedy=REMEDY)
    return tuple(found)


def scrape_interval(samples: Path) -> float:
    """Seconds between scrapes, as the addon's Prometheus datasource tells Grafana."""
    for name, text in _files(samples):
        if name == "datasources.yaml":
            for source in (yaml.safe_load(text) or {}).get("datasources") or []:
                if source.get("type") == "prometheus" and (source.get("jsonData") or {}).get("timeInterval"):
                    return seconds(source["jsonData"]["timeInterval"])
    return DEFAULT_INTERVAL


def dashboard(document: Mapping[str, Any]) -> Dashboard:
    """One dashboard's JSON. Raises KeyError, TypeError or ValueError for what is none."""
    return Dashboard(
        title=document["title"],
        uid=document.get("uid") or "",
        panels=tuple(_panels(document["panels"])),
        variables=tuple(_variable(each) for each in (document.get("templating") or {}).get("list") or []),
        seconds=shown_seconds(document.get("time") or {}),
    )


def _files(samples: Path) -> Iterator[tuple[str, str]]:
    for document in read_manifests(samples / ADDON):
        if document["kind"] == "ConfigMap":
            yield from (document.get("data") or {}).items()


def _panels(documents: Sequence[Mapping[str, Any]], row: str = "") -> Iterator[Panel]:
    """Panels in order; those that a collapsed row holds come behind it."""
    for document in documents:
        panel = _panel(document, row)
        yield panel
        if panel.kind == "row":
            row = panel.title
            yield from _panels(document.get("panels") or [], row)


def _panel(document: Mapping[str, Any], row: str) -> Panel:
    config = document.get("fieldConfig") or {}
    defaults, options = config.get("defaults") or {}, document.get("options") or {}
    grid = document.get("gridPos") or {}
    names, units, hidden = _columns(config.get("overrides") or [])
    return Panel(
        id=document["id"],
        title=document.get("title") or "",
        kind=document["type"],
        unit=defaults.get("unit") or "",
        grid=(grid.get("x", 0), grid.get("y", 0), grid.get("w", 12), grid.get("h", 8)),
        interval=document.get("interval") or "",
        points=document.get("maxDataPoints") or 0,
        reduce=((options.get("reduceOptions") or {}).get("calcs") or ["lastNotNull"])[0],
        targets=_targets(document.get("targets") or []),
        text=options.get("content") or "",
        minimum=defaults.get("min"),
        maximum=defaults.get("max"),
        names=names,
        units=units,
        hidden=hidden,
        row="" if document["type"] == "row" else row,
    )


def _targets(documents: Sequence[Mapping[str, Any]]) -> tuple[Target, ...]:
    """The queries; rows carry empty ones. A missing refId becomes the first free letter, as in Grafana."""
    taken = {each.get("refId") for each in documents}
    free = (letter for letter in map(chr, range(ord("A"), ord("Z") + 1)) if letter not in taken)
    return tuple(
        Target(
            ref=each.get("refId") or next(free),
            expr=each["expr"],
            legend=each.get("legendFormat") or "",
            instant=bool(each.get("instant")),
            format=each.get("format") or "time_series",
            interval=each.get("interval") or "",
            factor=each.get("intervalFactor") or 1,
            hidden=bool(each.get("hide")),
        )
        for each in documents
        if each.get("expr")
    )


def _columns(overrides: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Of the overrides by a column's name: titles, units, and which columns are hidden."""
    names: dict[str, str] = {}
    units: dict[str, str] = {}
    hidden = set()
    for override in overrides:
        if override["matcher"]["id"] != "byName":
            continue
        column = override["matcher"]["options"]
        for each in override.get("properties") or []:
            if each["id"] == "displayName":
                names[column] = each["value"]
            elif each["id"] == "unit":
                units[column] = each["value"]
            elif each["id"] == "custom.hidden" and each.get("value"):
                hidden.add(column)
    return names, units, frozenset(hidden)


def _variable(document: Mapping[str, Any]) -> Variable:
    query = document.get("query") or ""
    saved = (document.get("current") or {}).get("value")
    current = tuple(saved) if isinstance(saved, list) else (saved,) if saved else ()
    return Variable(
        name=document["name"],
        kind=document["type"],
        query=str(query.get("query") or "") if isinstance(query, Mapping) else str(query),
        regex=document.get("regex") or "",
        sort=document.get("sort") or 0,
        multi=bool(document.get("multi")),
        include_all=bool(document.get("includeAll")),
        all_value=document.get("allValue") or "",
        current=current,
    )
