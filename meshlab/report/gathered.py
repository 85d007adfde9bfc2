"""What a run gathers for its report beside `result.json`, while its steps go on."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from meshlab.core.registry import instance
from meshlab.report.material import ReportMaterial
from meshlab.run.journal import RunRef


class _Gathered:
    """Steps add to it side by side."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.material = ReportMaterial()


def material_of(run: RunRef) -> ReportMaterial:
    """Return what the run has gathered for its report."""
    return instance(_Gathered, run.run_id).material


def gather(run: RunRef, **parts: Any) -> None:
    """Keep something for the report.

    Args:
        run: The run.
        **parts: Fields of ReportMaterial: dashboards, traces, graphs, pods, authorization.
    """
    gathered = instance(_Gathered, run.run_id)
    with gathered.lock:
        gathered.material = replace(gathered.material, **parts)
