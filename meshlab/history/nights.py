"""What tonight's run means among the nights before it: what began, what ended, and telling it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import AlertError
from meshlab.history.alerts import Send, tell
from meshlab.history.records import RunRecord, moment
from meshlab.history.series import Incident, missed, reds, regressions, series_name
from meshlab.history.store import History
from meshlab.report.publish import opened_at
from meshlab.run.journal import RunRef, record

log = logging.getLogger(__name__)


def incidents_of(
    runs: Sequence[RunRecord], *, every: timedelta | None, now: datetime | None = None
) -> list[Incident]:
    """Find every incident of these runs.

    Args:
        runs: Of one flow and cluster, oldest first.
        every: How often a run is due; None: missed nights are not judged.
        now: Until when nights are missed; until the newest run began when not given.

    Returns:
        The incidents, oldest first.
    """
    until = now or moment(runs[-1].started)
    late = missed(runs, every=every, now=until) if every else []
    return [*reds(runs), *regressions(runs), *late]


def tell_tonight(run: RunRef, config: LabConfig, machine: Machine, send: Send | None) -> int:
    """Send what began or ended with this run, and what did not get through before.

    The run must be in the history. A message that does not get through is a warning and waits for the next
    run: it says nothing about the mesh.

    Args:
        run: The run.
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        send: How; None without a webhook: nothing is sent, and what would have been is written into the
            journal.

    Returns:
        How many messages got through.

    Raises:
        HistoryError: The history can't be read or written.
    """
    with History.of(config, machine) as history:
        runs = history.runs_until(run.run_id)
        incidents = incidents_of(runs, every=timedelta(hours=config.history.every_hours))
        going_on = [incident for incident in incidents if not incident.ended]
        for incident in going_on:
            record(run, {"event": "warning", "text": f"incident: {incident.text}"})
        if send is None:
            if going_on:
                text = f"{len(going_on)} incidents, and nobody is told: no webhook for alerts is set"
                record(run, {"event": "warning", "text": text})
            return 0
        context = f"{run.run_id}: {opened_at(runs[-1].published) or run.directory}"
        try:
            sent = tell(
                history,
                incidents,
                send,
                series=series_name(runs[-1]),
                latest=run.run_id,
                context=context,
            )
        except AlertError as problem:
            text = f"an alert did not get through and waits for the next run: {problem}"
            log.warning(text)
            record(run, {"event": "warning", "text": text})
            return 0
        return len(sent)
