"""Rows for the tables that Prefect and the report show. Flat records, same keys in every row, texts short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from meshlab.core.text import pluralize
from meshlab.kube.pods import PodSummary
from meshlab.run.results import NOT_MADE

Row = dict[str, Any]


def pod_rows(pods: Iterable[PodSummary], at: datetime | None = None) -> list[Row]:
    """List pods as `kubectl get po -o wide` shows them.

    Args:
        pods: The pods.
        at: The moment that ages count to, now by default.

    Returns:
        One row a pod.
    """
    moment = at or datetime.now(UTC)
    return [
        {
            "namespace": pod.namespace,
            "name": pod.name,
            "ready": pod.ready,
            "status": pod.status,
            "restarts": pod.restarts,
            "age": age(pod.started, moment),
            "node": pod.node,
            "ip": pod.ip,
        }
        for pod in sorted(pods, key=lambda pod: (pod.namespace, pod.name))
    ]


def age(since: datetime | None, at: datetime) -> str:
    """A duration as kubectl writes it: 42s, 5m, 17h, 3d."""
    if since is None:
        return "-"
    seconds = int((at - since).total_seconds())
    for unit, size, least in (("d", 86400, 2 * 86400), ("h", 3600, 2 * 3600), ("m", 60, 120)):
        if seconds >= least:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def version_rows(versions: Mapping[str, Any], prefix: str = "") -> list[Row]:
    """List versions as two columns; nested ones get dotted names, as istio.data_plane.1.31.0.

    Args:
        versions: Name → version, or a mapping of the same kind.
        prefix: What stands before the names.

    Returns:
        One row a version.
    """
    rows: list[Row] = []
    for name, value in versions.items():
        if isinstance(value, Mapping) and name == "data_plane":
            rows += [
                {"what": f"{prefix}data_plane", "version": f"{v} ({n} {'proxy' if n == 1 else 'proxies'})"}
                for v, n in value.items()
            ]
        elif isinstance(value, Mapping):
            rows += version_rows(value, f"{prefix}{name}.")
        else:
            rows.append({"what": prefix + name, "version": "-" if value is None else str(value)})
    return rows


def grouped(checks: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put the checks that one failed step took along into one row.

    Args:
        checks: As in `result.json`.

    Returns:
        The checks in their order; those that were not made for the same reason stand where the first of them
        stood, as one whose `id` is their number and whose `grouped` is true.
    """
    rows: list[Mapping[str, Any]] = []
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for check in checks:
        if check["summary"] != NOT_MADE:
            rows.append(check)
            continue
        group = alike.setdefault(check["reason"] or "", [])
        if not group:
            rows.append(check)
        group.append(check)
    groups = {id(group[0]): group for group in alike.values() if len(group) > 1}
    return [
        {**row, "id": pluralize(len(groups[id(row)]), "checks"), "grouped": True}
        if id(row) in groups
        else row
        for row in rows
    ]


def check_rows(checks: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Checks with verdict, what was seen and, where it is no pass, why and what to do."""
    return [
        {
            "check": check["id"],
            "verdict": check["verdict"],
            "what was seen": check["summary"],
            "reason": check["reason"] or "",
            "remedy": check["remedy"] or "",
            "seconds": round(check["seconds"], 1),
        }
        for check in checks
    ]


def query_rows(checks: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The document's queries, their series and values, from the evidence of the prometheus checks.

    Values come before labels: Prefect's page cuts a wide table off at its right.
    """
    rows: list[Row] = []
    for check in checks:
        evidence = check["evidence"]
        if "query" not in evidence:
            continue
        rows += [
            {"check": check["id"], "query": evidence["query"], **{k: str(v) for k, v in series.items()}}
            for series in evidence.get("series") or [{}]
        ]
    columns = list(dict.fromkeys(["check", "query", "value", *(key for row in rows for key in row)]))
    return [{key: row.get(key, "") for key in columns} for row in rows]


def link_rows(links: Iterable[Mapping[str, str]]) -> list[Row]:
    """The lab's pages (name, url, note) as links that Prefect's tables show; what has no page says what is there."""
    return [
        {
            "page": each["name"],
            "link": f"[{each['url']}]({each['url']})" if each["url"] else "",
            "note": each["note"],
        }
        for each in links
    ]


def step_rows(steps: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Steps with their state and time."""
    return [
        {
            "step": step["name"],
            **{key: step[key] for key in ("state", "seconds", "attempts")},
            "reason": step["reason"] or "",
        }
        for step in steps
    ]
