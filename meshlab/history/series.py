"""Measures over nights, and what is wrong with them now: the regression rule applied to the runs of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from meshlab.history.difference import difference
from meshlab.history.records import MeasureRow, RunRecord, moment
from meshlab.history.regression import Incident, Night, Rule, incidents, judged_as
from meshlab.report.units import format_value

RUN_RED, MISSED = "run-red", "night-missed"  # incidents that are no measure's


@dataclass(frozen=True)
class Trouble:
    """Something to tell people, once when it begins and once when it ends.

    name: stable for as long as it lasts, and never used again. what: the measure with its labels, RUN_RED or
    MISSED. began, ended: the runs (ended: "" while it lasts). text, end_text: one sentence each, with numbers.
    """

    name: str
    what: str
    began: str
    ended: str
    text: str
    end_text: str = ""


def series_of(runs: Sequence[RunRecord]) -> dict[str, tuple[MeasureRow, list[Night]]]:
    """Every measure of the runs by its key, with its values in order of time. The row is the newest one's."""
    found: dict[str, tuple[MeasureRow, list[Night]]] = {}
    for run in runs:
        for measure in run.measures:
            nights = found.get(measure.key, (measure, []))[1]
            nights.append(Night(run.run_id, run.started, measure.value))
            found[measure.key] = (measure, nights)
    return found


def regressions(runs: Sequence[RunRecord], rule: Rule = Rule()) -> list[Trouble]:  # noqa: B008
    """Measures that got worse, past incidents included. runs: of one flow and cluster, in order of time.

    Runs that did not make a verdict (error) say nothing about a measure: they are left out.
    """
    sound = [run for run in runs if run.verdict in ("pass", "fail")]
    found = []
    for key, (measure, nights) in series_of(sound).items():
        how = judged_as(measure.name)
        if how is not None:
            found += [_told(key, measure, sound, each) for each in incidents(nights, how, rule)]
    return found


def reds(runs: Sequence[RunRecord]) -> list[Trouble]:
    """Every row of runs that did not pass is one incident: it begins with the first and ends with a pass."""
    found: list[Trouble] = []
    began: RunRecord | None = None
    for run in runs:
        if run.verdict != "pass" and began is None:
            began = run
        elif run.verdict == "pass" and began is not None:
            found.append(_red(began, run))
            began = None
    return [*found, _red(began, None)] if began is not None else found


def missed(runs: Sequence[RunRecord], *, every: timedelta, now: datetime) -> list[Trouble]:
    """Nights without a run: gaps between runs, and since the last one, of more than one and a half times `every`.

    The incident is named after the run before the gap, so that the gap that is still open is the same incident
    once the next run has come.
    """
    found = []
    for index, run in enumerate(runs):
        follower = runs[index + 1] if index + 1 < len(runs) else None
        gap = (moment(follower.started) if follower else now) - moment(run.started)
        if gap > 1.5 * every:
            hours = gap.total_seconds() / 3600
            until = f"until {follower.run_id}" if follower else "and there is none yet"
            found.append(
                Trouble(
                    f"{MISSED}:{run.run_id}",
                    MISSED,
                    run.run_id,
                    follower.run_id if follower else "",
                    f"no run for {hours:.0f} h after {run.run_id} ({until}); one is due every "
                    f"{every.total_seconds() / 3600:.0f} h",
                    f"runs again: {follower.run_id} came {hours:.0f} h after {run.run_id}"
                    if follower
                    else "",
                )
            )
    return found


def version_changes(runs: Sequence[RunRecord]) -> list[tuple[RunRecord, str]]:
    """Runs whose versions differ from those of the run before, and how: `istio.client 1.30.0 → 1.31.0`."""
    found = []
    for before, after in pairwise(runs):
        if before.versions and after.versions:
            changed = [
                f"{name} {then or '–'} → {now or '–'}"
                for name, then, now in difference(before, after).versions
            ]
            if changed:
                found.append((after, "; ".join(changed)))
    return found


def _told(key: str, measure: MeasureRow, runs: Sequence[RunRecord], incident: Incident) -> Trouble:
    """An incident in words, with the versions that changed on its first night."""

    def value(number: float) -> str:
        return format_value(number, measure.unit)

    base = incident.baseline
    said = (
        f"{key} is {value(incident.noticed.value)}, for two nights beyond {value(base.limit)} "
        f"(median of {base.nights} nights {value(base.middle)}, spread {value(base.spread)})"
    )
    changed = [text for run, text in version_changes(runs) if run.run_id == incident.first.run_id]
    if changed:
        said += f"; that night's versions changed: {changed[0]}"
    end = ""
    if incident.ended is not None:
        end = (
            f"{key} has been at {value(incident.ended.value)} for so long that it is the new level"
            if incident.renewed
            else f"{key} is back: {value(incident.ended.value)}, the limit is {value(base.limit)}"
        )
    ended = incident.ended.run_id if incident.ended else ""
    return Trouble(f"{key}:{incident.first.run_id}", key, incident.noticed.run_id, ended, said, end)


def _red(began: RunRecord, ended: RunRecord | None) -> Trouble:
    wrong = [check.check_id for check in began.checks if check.verdict not in ("pass", "skipped")]
    steps = [step.name for step in began.steps if step.state == "failed"]
    parts = [f"checks {', '.join(wrong)}"] * bool(wrong) + [f"steps {', '.join(steps)}"] * bool(steps)
    return Trouble(
        f"{RUN_RED}:{began.run_id}",
        RUN_RED,
        began.run_id,
        ended.run_id if ended else "",
        f"{began.flow} {began.run_id}: {began.verdict}" + (f" ({'; '.join(parts)})" if parts else ""),
        f"{ended.flow} passes again: {ended.run_id}" if ended else "",
    )
