"""How long the steps of earlier runs took on this machine: what a person who waits wants to know of this one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

RUNS = 5  # the newest that came to their end
LOOKED_AT = 30  # directories at most


@dataclass(frozen=True)
class Earlier:
    """Seconds, by the step's name. took: of the step. rest: from its begin to the run's end."""

    took: Mapping[str, float] = field(default_factory=dict)
    rest: Mapping[str, float] = field(default_factory=dict)


def earlier(run: Path, flow: str, provider: str) -> Earlier:
    """Read the newest runs beside this one that are of its flow and cluster provider, and came to their end.

    Args:
        run: This run's directory.
        flow: Its flow.
        provider: Its cluster's: local, existing or gke.

    Returns:
        The medians; empty where there is no such run. What can't be read is left out: it is only told, and nothing hangs on it.
    """
    others = sorted((each for each in run.parent.glob("*/evidence/journal.jsonl")), reverse=True)
    found: list[dict[str, tuple[float, float]]] = []
    for path in islice(others, LOOKED_AT):
        if path.parents[1] != run and len(found) < RUNS:
            with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                found += _steps(path, flow, provider)
    names = {name for one in found for name in one}
    return Earlier(
        {name: median(one[name][0] for one in found if name in one) for name in names},
        {name: median(one[name][1] for one in found if name in one) for name in names},
    )


def _steps(path: Path, flow: str, provider: str) -> Iterable[dict[str, tuple[float, float]]]:
    """Step → how long it took, and how long the run went on from its begin; nothing for a run of another kind."""
    events: list[dict[str, Any]] = [
        json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
    ]
    kinds = [event["event"] for event in events]
    facts: dict[str, Any] = next((event["facts"] for event in events if event["event"] == "facts"), {})
    same = events[0]["flow"] == flow and facts.get("cluster", {}).get("provider") == provider
    if not same or "ended" not in kinds or "resumed" in kinds:
        return
    end = _moment(events[kinds.index("ended")])
    steps = [event for event in events if event["event"] == "step" and event["state"] in ("done", "failed")]
    yield {each["name"]: (each["seconds"], end - _moment(each) + each["seconds"]) for each in steps}


def _moment(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()
