"""Measures over nights, and what is wrong with them now: the regression rule applied to the runs of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meshlab.core.text import pluralize
from meshlab.history.records import MeasureRow, RunRecord, moment
from meshlab.history.regression import JUDGED, Degradation, Night, Rule, degradations
from meshlab.report.units import format_value

RUN_RED, MISSED = "run-red", "night-missed"  # incidents that are no measure's
SOUND = ("pass", "fail")  # verdicts of runs whose measures count: they came to their end
NAMED, LONGEST = 6, 160  # of a kind that are named in a sentence; characters of a reason


@dataclass(frozen=True)
class Incident:
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


def series_name(run: RunRecord) -> str:
    """What the runs that may be compared are called: their flow and cluster."""
    return f"{run.flow} on {run.provider}/{run.cluster}"


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
class Regression:
    """One measure that got worse. began, ended: places in the list of runs; ended None while it lasts."""

    key: str
    measure: MeasureRow
    family: str
    degradation: Degradation
    began: int
    ended: int | None


def worsened(runs: Sequence[RunRecord], rule: Rule = Rule()) -> list[Regression]:  # noqa: B008
    """Measures that got worse, past incidents included, in order of time. runs: of one flow and cluster.

    Runs that did not make a verdict (error) say nothing about a measure: they are left out.
    """
    place = {run.run_id: number for number, run in enumerate(runs)}
    sound = [run for run in runs if run.verdict in SOUND]
    found = []
    for key, (measure, nights) in series_of(sound).items():
        how = JUDGED.get(measure.name)
        for each in degradations(nights, how, rule) if how else ():
            ended = place[each.ended.run_id] if each.ended else None
            found.append(Regression(key, measure, how.family, each, place[each.noticed.run_id], ended))  # type: ignore[union-attr]
    return sorted(found, key=lambda worse: (worse.began, worse.key))


def regressions(runs: Sequence[RunRecord], rule: Rule = Rule()) -> list[Incident]:  # noqa: B008
    """Find what got worse, as people are told it.

    What becomes certain with the same run is one incident: a machine that was busy for two nights is slow
    in all that is measured. So are measures of one family whose bad times overlap: a slower mesh is slower
    in many numbers. Which measure began an incident does not change with nights to come.

    Args:
        runs: Of one flow and cluster, in order of time.
        rule: The rule's numbers.

    Returns:
        The incidents.
    """
    groups: list[list[Regression]] = []
    for worse in worsened(runs, rule):
        group = next((g for g in groups if _belongs(worse, g)), None)
        if group is None:
            groups.append([worse])
        else:
            group.append(worse)
    return [_told(group, runs) for group in groups]


def _belongs(worse: Regression, group: Sequence[Regression]) -> bool:
    if group[0].began == worse.began:
        return True
    same = [each for each in group if each.family == worse.family]
    return any(each.ended is None or each.ended >= worse.began for each in same)


def reds(runs: Sequence[RunRecord]) -> list[Incident]:
    """What went red, night by night: checks and steps that are red since the same run are one incident.

    It ends when none of them is red any more. One that was red before is told no more, and hides no other: a mesh
    with a known failure still tells what else fails.
    """
    found: list[Incident] = []
    lasting: list[
        tuple[RunRecord, set[str], set[str]]
    ] = []  # began with, names then, names that are red still
    for run in runs:
        now = _red_of(run)
        left = [(began, names, still & now) for began, names, still in lasting]
        found += [_red(began, names, run) for began, names, still in left if not still]
        lasting = [each for each in left if each[2]]
        new = now.difference(*(still for _, _, still in lasting))
        if new:
            lasting.append((run, new, new))
    return [*found, *(_red(began, names, None) for began, names, _ in lasting)]


def _red_of(run: RunRecord) -> set[str]:
    """Checks that were made in vain or not at all, and steps that failed; what is behind a red run without any."""
    if run.verdict == "pass":
        return set()
    red = {f"check {each.check_id}" for each in run.checks if each.verdict not in ("pass", "skipped")}
    red |= {f"step {each.name}" for each in run.steps if each.state == "failed"}
    return red or {"verdict"}


def missed(runs: Sequence[RunRecord], *, every: timedelta, now: datetime) -> list[Incident]:
    """Find nights without a run: gaps of more than one and a half times `every`, the one since the last run included.

    The incident is named after the run before the gap, so that the gap that is still open is the same
    incident once the next run has come.

    Args:
        runs: Of one flow and cluster, in order of time.
        every: How often a run is due.
        now: Until when runs are missed.

    Returns:
        The incidents.
    """
    found = []
    for index, run in enumerate(runs):
        follower = runs[index + 1] if index + 1 < len(runs) else None
        gap = (moment(follower.started) if follower else now) - moment(run.started)
        if gap > 1.5 * every:
            hours = gap.total_seconds() / 3600
            until = f"until {follower.run_id}" if follower else "and there is none yet"
            found.append(
                Incident(
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
    """Runs whose versions differ from those last seen before, and how: `istio.client 1.30.0 → 1.31.0`.

    A run that broke off before it saw a version says nothing about it.
    """
    found = []
    seen: dict[str, str] = {}
    for run in runs:
        changed = [
            f"{name} {seen[name]} → {now}"
            for name, now in run.versions.items()
            if now and seen.get(name, now) != now
        ]
        if changed:
            found.append((run, "; ".join(changed)))
        seen |= {name: now for name, now in run.versions.items() if now}
    return found


def _told(group: Sequence[Regression], runs: Sequence[RunRecord]) -> Incident:
    """An incident in words, with the versions that changed between its first night and the last one before it."""
    first = min(group, key=lambda worse: (worse.began, worse.degradation.first.at))
    text = "; ".join(_worse_text(worse) for worse in group)
    changed = changed_until(first.degradation.first.run_id, runs)
    if changed:
        text += f"; on its first night versions changed: {changed}"
    places = [worse.ended for worse in group]
    over = [place for place in places if place is not None]
    ended = runs[max(over)].run_id if len(over) == len(places) else ""
    return Incident(
        f"{first.family}:{runs[first.began].run_id}",
        first.family,
        runs[first.began].run_id,
        ended,
        text,
        "; ".join(_back_text(worse) for worse in group) if ended else "",
    )


def changed_until(run_id: str, runs: Sequence[RunRecord]) -> str:
    """Versions that changed from the sound run before this one on: in between may be nights that broke off."""
    place = next(number for number, run in enumerate(runs) if run.run_id == run_id)
    before = max((n for n in range(place) if runs[n].verdict in SOUND), default=-1)
    nights = {run.run_id for run in runs[before + 1 : place + 1]}
    return "; ".join(said for run, said in version_changes(runs[: place + 1]) if run.run_id in nights)


def _worse_text(worse: Regression) -> str:
    base, unit, night = worse.degradation.baseline, worse.measure.unit, worse.degradation.noticed
    change = f" ({(night.value - base.middle) / base.middle:+.0%})" if base.middle else ""
    return (
        f"{worse.key} is {format_value(night.value, unit)}{change}, {base.side} {format_value(base.limit, unit)} in two "
        f"runs in a row (median of {base.nights} runs {format_value(base.middle, unit)}, "
        f"spread {format_value(base.spread, unit)})"
    )


def _back_text(worse: Regression) -> str:
    incident, unit = worse.degradation, worse.measure.unit
    value = format_value(incident.ended.value, unit) if incident.ended else "no value"
    if incident.renewed:
        return f"{worse.key} has been at {value} for so long that it is the new level"
    return f"{worse.key} is back: {value}, the limit is {format_value(incident.baseline.limit, unit)}"


def _red(began: RunRecord, names: set[str], ended: RunRecord | None) -> Incident:
    return Incident(
        f"{RUN_RED}:{began.run_id}",
        RUN_RED,
        began.run_id,
        ended.run_id if ended else "",
        "; ".join([f"{began.flow} {began.run_id}: {began.verdict}", *_what_is_red(began, names)]),
        f"in {ended.run_id} nothing of it is red any more: {listed(sorted(names))}" if ended else "",
    )


def _what_is_red(run: RunRecord, names: set[str]) -> list[str]:
    """The failed steps and the failed checks with their reasons, a fail before a broken; else only names."""
    said = [
        f"step {step.name} failed{_why(step.reason)}" for step in run.steps if f"step {step.name}" in names
    ]
    checks = [check for check in run.checks if f"check {check.check_id}" in names]
    failed = sorted(
        (check for check in checks if check.verdict != "infra-error"),
        key=lambda check: check.verdict != "fail",
    )
    said += [f"{check.verdict} {check.check_id}{_why(check.reason)}" for check in failed[:NAMED]]
    said += [f"and {pluralize(len(failed) - NAMED, 'more checks')}"] * (len(failed) > NAMED)
    not_made = [check.check_id for check in checks if check.verdict == "infra-error"]
    return said + [f"could not be made: {listed(not_made)}"] * bool(not_made)


def _why(reason: str) -> str:
    return f" ({reason if len(reason) <= LONGEST else reason[: LONGEST - 1] + '…'})" if reason else ""


def listed(names: Sequence[str]) -> str:
    """Name the first of these, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
