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


@dataclass(frozen=True)
class Worse:
    """One measure that got worse. began, ended: places in the list of runs; ended None while it lasts."""

    key: str
    measure: MeasureRow
    family: str
    incident: Incident
    began: int
    ended: int | None


def worsened(runs: Sequence[RunRecord], rule: Rule = Rule()) -> list[Worse]:  # noqa: B008
    """Measures that got worse, past incidents included, in order of time. runs: of one flow and cluster.

    Runs that did not make a verdict (error) say nothing about a measure: they are left out.
    """
    place = {run.run_id: number for number, run in enumerate(runs)}
    sound = [run for run in runs if run.verdict in ("pass", "fail")]
    found = []
    for key, (measure, nights) in series_of(sound).items():
        how = judged_as(measure.name)
        for each in incidents(nights, how, rule) if how else ():
            ended = place[each.ended.run_id] if each.ended else None
            found.append(Worse(key, measure, how.family, each, place[each.noticed.run_id], ended))  # type: ignore[union-attr]
    return sorted(found, key=lambda worse: (worse.began, worse.key))


def regressions(runs: Sequence[RunRecord], rule: Rule = Rule()) -> list[Trouble]:  # noqa: B008
    """What got worse, as people are told it. runs: of one flow and cluster, in order of time.

    Measures of one family whose bad times overlap are one incident: a slower mesh is slower in many numbers.
    Which measure began an incident does not change with nights to come.
    """
    groups: list[list[Worse]] = []
    for worse in worsened(runs, rule):
        group = next((g for g in groups if g[0].family == worse.family and _lasts(g, worse.began)), None)
        if group is None:
            groups.append([worse])
        else:
            group.append(worse)
    return [_told(group, runs) for group in groups]


def _lasts(group: Sequence[Worse], place: int) -> bool:
    return any(worse.ended is None or worse.ended >= place for worse in group)


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


def _told(group: Sequence[Worse], runs: Sequence[RunRecord]) -> Trouble:
    """An incident in words, with the versions that changed on its first night."""
    first = min(group, key=lambda worse: (worse.began, worse.incident.first.at))
    text = "; ".join(_worse_text(worse) for worse in group)
    changed = [said for run, said in version_changes(runs) if run.run_id == first.incident.first.run_id]
    if changed:
        text += f"; on its first night versions changed: {changed[0]}"
    places = [worse.ended for worse in group]
    over = [place for place in places if place is not None]
    ended = runs[max(over)].run_id if len(over) == len(places) else ""
    return Trouble(
        f"{first.family}:{runs[first.began].run_id}",
        first.family,
        runs[first.began].run_id,
        ended,
        text,
        "; ".join(_back_text(worse) for worse in group) if ended else "",
    )


def _worse_text(worse: Worse) -> str:
    base, unit, night = worse.incident.baseline, worse.measure.unit, worse.incident.noticed
    way = "above" if base.bad == "up" else "below"
    change = f" ({(night.value - base.middle) / base.middle:+.0%})" if base.middle else ""
    return (
        f"{worse.key} is {format_value(night.value, unit)}{change}, {way} {format_value(base.limit, unit)} in two "
        f"runs in a row (median of {base.nights} runs {format_value(base.middle, unit)}, "
        f"spread {format_value(base.spread, unit)})"
    )


def _back_text(worse: Worse) -> str:
    incident, unit = worse.incident, worse.measure.unit
    value = format_value(incident.ended.value, unit) if incident.ended else "no value"
    if incident.renewed:
        return f"{worse.key} has been at {value} for so long that it is the new level"
    return f"{worse.key} is back: {value}, the limit is {format_value(incident.baseline.limit, unit)}"


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
