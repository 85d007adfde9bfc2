"""Runs of many nights, made up: what the history's tests and the simulation of its rule share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

FIRST = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


def night(
    number: int,
    measures: Mapping[str, tuple[float, str]] | None = None,
    *,
    flow: str = "nightly-validation",
    verdict: str = "pass",
    checks: Mapping[str, str] | None = None,
    edges: tuple[tuple[str, str], ...] = (("sleep", "productpage-v1"),),
    findings: tuple[tuple[str, str], ...] = (),
    istio: str = "1.30.0",
    seconds: float = 120.0,
) -> dict[str, Any]:
    """`result.json`'s content of the night `number`.

    measures: `name` or `name{label=value}` → (value, unit). checks: id → verdict. findings: (code, resource).
    """
    began = FIRST + timedelta(days=number)
    rows = [{"from": a, "to": b, "protocol": "http", "counted_by_source": 3.0} for a, b in edges]
    listed = [
        {"code": code, "resource": resource, "severity": "Warning", "message": "as in the catalogue"}
        for code, resource in findings
    ]
    evidence: dict[str, dict[str, Any]] = {
        "graph.edges": {"edges": rows},
        "istio.analyze": {"findings": listed},
    }
    wanted = {"graph.edges": "pass", "istio.analyze": "pass", **(checks or {})}
    return {
        "schema": 1,
        "run_id": f"{began:%Y%m%dt%H%M%Sz}-{number:04x}",
        "flow": flow,
        "verdict": verdict,
        "started": _time(began),
        "finished": _time(began + timedelta(seconds=seconds)),
        "cluster": {"provider": "existing", "name": "blue", "nodes": 3},
        "distribution": "release",
        "images": {},
        "versions": {"kubernetes": "v1.36.1", "istio": {"client": istio, "data_plane": {istio: 9}}},
        "steps": [{"name": "check-app", "state": "done", "seconds": 1.5, "attempts": 1, "reason": None}],
        "checks": [
            {
                "id": check, "title": check, "verdict": said, "scope": "observe", "seconds": 0.1,
                "summary": f"1 look at {check}: {said}", "evidence": evidence.get(check, {}),
                "reason": None if said == "pass" else f"{check} is {said}",
                "remedy": None if said in ("pass", "skipped") else "mend it",
            }
            for check, said in wanted.items()
        ],
        "measures": [_measure(key, *value) for key, value in (measures or {}).items()],
        "catches": [],
    }  # fmt: skip


def _measure(key: str, value: float, unit: str) -> dict[str, Any]:
    name, _, labels = key.rstrip("}").partition("{")
    pairs = dict(pair.split("=") for pair in labels.split(",")) if labels else {}
    return {"name": name, "value": value, "unit": unit, "labels": pairs}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
