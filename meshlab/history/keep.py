"""Writing a run into the history at its end: a history that fails never fails the run, and never fails silently."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from meshlab.errors import MeshlabError
from meshlab.history.records import from_result
from meshlab.history.store import History
from meshlab.runs import RunRef, record
from meshlab.settings import LabConfig, Machine

log = logging.getLogger(__name__)


def keep_run(
    run: RunRef,
    config: LabConfig,
    machine: Machine,
    result: Mapping[str, Any],
    console: Console | None = None,
) -> bool:
    """Record the run's result; False where that failed, which the log, the journal and the terminal then say.

    May be called twice for a run: the later result replaces the earlier one. console: where nobody listens to
    the run's events any more.
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
