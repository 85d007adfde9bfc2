"""What tonight's run means among the nights before it: what began, what ended, and telling it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import SecretStr

from meshlab.history.alerts import Webhook, tell
from meshlab.history.records import RunRecord, moment
from meshlab.history.series import Trouble, missed, reds, regressions
from meshlab.history.store import History, cluster_key
from meshlab.runs import RunRef, record
from meshlab.settings import LabConfig, Machine


def troubles_of(runs: Sequence[RunRecord], *, every: timedelta) -> list[Trouble]:
    """What is to be told after the newest of these runs, all of one flow and cluster, oldest first.

    Of missed nights only those right before it: older gaps were told, or are older than the alerts.
    """
    latest = runs[-1]
    gaps = missed(runs[-2:], every=every, now=moment(latest.started))
    return [*reds(runs), *regressions(runs), *gaps]


def tell_tonight(run: RunRef, config: LabConfig, machine: Machine, webhook: SecretStr | None) -> int:
    """Send what began or ended with this run; returns how many messages got through.

    The run must be in the history. Without a webhook nothing is sent, and what would have been is written into
    the journal. Raises AlertError, HistoryError.
    """
    with History.of(config, machine) as history:
        tonight = history.run(run.run_id)
        runs = history.runs(flow=tonight.flow, cluster=cluster_key(tonight))
        known = [each for each in runs if each.started <= tonight.started]
        troubles = troubles_of(known, every=timedelta(hours=config.history.every_hours))
        going_on = [trouble for trouble in troubles if not trouble.ended]
        for trouble in going_on:
            record(run, {"event": "warning", "text": f"incident: {trouble.text}"})
        if webhook is None:
            if going_on:
                text = f"{len(going_on)} incidents, and nobody is told: no webhook for alerts is set"
                record(run, {"event": "warning", "text": text})
            return 0
        context = f"{tonight.flow} {run.run_id} on {cluster_key(tonight)}: {run.directory}"
        return len(tell(history, troubles, Webhook(webhook), context=context))
