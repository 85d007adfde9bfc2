"""Writing a run into the history at its end: a history that fails never fails the run, and never fails silently."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import MeshlabError
from meshlab.history.records import RunRecord, from_result
from meshlab.history.store import History
from meshlab.run.journal import RunRef, record

log = logging.getLogger(__name__)


def keep_run(
    run: RunRef,
    config: LabConfig,
    machine: Machine,
    result: Mapping[str, Any],
    console: Console | None = None,
) -> bool:
    """Record the run's result in the history.

    May be called twice for a run: the later result replaces the earlier one.

    Args:
        run: The run.
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        result: The content of `result.json`.
        console: Where nobody listens to the run's events any more.

    Returns:
        False where that failed, which the log, the journal and the terminal then say.
    """
    try:
        with History.of(config, machine) as history:
            history.record(from_result(result, str(run.directory)))
    except MeshlabError as problem:
        text = f"the run is not in the history: {problem}"
        log.warning(text)
        record(run, {"event": "warning", "text": text})
        if console is not None:
            console.print(Text(f"  ! {text}", style="bold yellow"), soft_wrap=True)
        return False
    return True


def runs_until(run: RunRef, config: LabConfig, machine: Machine) -> list[RunRecord]:
    """Read the runs of this run's flow on its cluster, up to itself.

    What keeps it from being read was said when the run was recorded.

    Args:
        run: The run.
        config: The settings of the run.
        machine: This machine: its folders and what it has.

    Returns:
        The runs, oldest first; empty where the history can't be read.
    """
    try:
        with History.of(config, machine, create=False) as history:
            return history.runs_until(run.run_id)
    except MeshlabError as problem:
        log.info("no look back in the report: %s", problem)
        return []
