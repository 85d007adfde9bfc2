"""`latest.json`: what the parts found, merged run by run, with the machine and the date."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from meshlab.core.errors import MeshlabError
from meshlab.core.files import write_atomically
from meshlab.run.journal import now

LATEST = Path(__file__).parent / "latest.json"
RATIOS = (
    "lab_by_hand",
    "red_green",
    "step_alone_cluster",
    "prefect_share",
    "growth_10_copies",
    "nightly_300_services",
)
SECONDS = ("lab", "nightly", "first_run", "help")


@dataclass(frozen=True)
class Found:
    """What a part measured.

    ratios, seconds: of the names in RATIOS and SECONDS, each as its single values. runs: the part's name → whatever else
    it found, as JSON has it.
    """

    ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seconds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    runs: Mapping[str, Any] = field(default_factory=dict)


def machine() -> dict[str, Any]:
    """Describe this machine: processors, memory in GB, kernel, and the load in the last minute before."""
    return {
        "processors": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": platform.release(),
        "cpu": platform.machine(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def read(path: Path = LATEST) -> dict[str, Any]:
    """Read what was found so far; empty where nothing was.

    Args:
        path: The file.

    Raises:
        MeshlabError: It is no such file.
    """
    if not path.exists():
        return {"machine": {}, "measured": "", "ratios": {}, "seconds": {}, "runs": {}}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        unknown = {*found["ratios"]} - {*RATIOS} | {*found["seconds"]} - {*SECONDS}
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise MeshlabError(
            f"{path} is no record of benchmarks: {problem!r}", remedy="restore it from git"
        ) from problem
    if unknown:
        raise MeshlabError(
            f"{path} has what no part measures: {', '.join(sorted(unknown))}", remedy="restore it from git"
        )
    return found


def merge(before: Mapping[str, Any], part: str, found: Found, here: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a part found over what was known; what other parts found stays.

    Args:
        before: As `read` gives it.
        part: The part's name.
        found: What it measured: of several values the median counts, and `runs` keeps them all.
        here: The machine.

    Returns:
        The new content.

    Raises:
        ValueError: A ratio or a time has a name that nobody reads.
    """
    if unknown := {*found.ratios} - {*RATIOS} | {*found.seconds} - {*SECONDS}:
        raise ValueError(f"{part} measured {unknown}, which has no place in latest.json")
    when = now()
    values = {**found.ratios, **found.seconds}
    single = {
        "machine": dict(here),
        "measured": when,
        "values": {name: list(each) for name, each in values.items()},
    }
    runs = {**before["runs"], part: {**single, **found.runs}}
    told = {name for one in runs.values() for name in one["values"]}  # a part may tell less than it did

    def merged(kind: str, fresh: Mapping[str, Sequence[float]]) -> dict[str, float]:
        every = {**before[kind], **{name: _median(each) for name, each in fresh.items()}}
        return {name: value for name, value in every.items() if name in told}

    return {
        "machine": dict(here),
        "measured": when,
        "ratios": merged("ratios", found.ratios),
        "seconds": merged("seconds", found.seconds),
        "runs": runs,
    }


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def write(content: Mapping[str, Any], path: Path = LATEST) -> None:
    """Write the record.

    Args:
        content: As `merge` gives it.
        path: The file.
    """
    write_atomically(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
