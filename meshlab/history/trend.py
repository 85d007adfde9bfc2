"""The report's look back: small charts of the last nights beside tonight's values, and what changed since a green run.

Runs in, markup and lines out; of their directories only the configuration that they kept is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from meshlab.causes.snapshot import Change
from meshlab.history.difference import Difference, configuration_changes, difference, last_green
from meshlab.history.records import MeasureRow, RunRecord, moment
from meshlab.history.regression import JUDGED, Night, Rule, judge
from meshlab.history.series import Regression, changed_until, listed, series_of, version_changes, worsened
from meshlab.report.charts import line_chart
from meshlab.report.html import Changed
from meshlab.report.material import Series
from meshlab.report.rendering import render
from meshlab.report.sections import MEASURES, Section
from meshlab.report.svg import Picture
from meshlab.report.units import format_value

NIGHTS = 30  # that are drawn
MOST = 6  # of a kind of change that are named; how many more there are is said
WIDTH, HEIGHT = 280, 72  # CSS pixels of a small chart
SHORT = ("ms", "s", "MiB", "percent", "cores")  # units that fit beside its axis
BESIDE = ("dashboard-queries", "mutation-score")  # drawn though nobody judges them
NOT_DRAWN = ("step-seconds", "success-rate")  # too many; the same as another


@dataclass(frozen=True)
class TrendRow:
    """One measure of the report's look back.

    bad: tonight is beyond the limit. middle: median of the calm nights before. limit: "–" where it is not judged
    or history is short.
    """

    key: str
    tonight: str
    middle: str
    limit: str
    bad: bool
    picture: Picture


def trend_section(runs: Sequence[RunRecord]) -> Section | None:
    """Measures of the newest run beside those before it, what is bad first; None while there is only one run.

    runs: of one flow and cluster, in order of time, all there are: the rule looks at them all.
    """
    if len(runs) < 2:
        return None
    recent = runs[-NIGHTS:]
    since = moment(recent[0].started).timestamp()
    changes = [moment(run.started).timestamp() for run, _ in version_changes(runs)]
    rows = [
        row
        for key, (measure, nights) in series_of(runs).items()
        if nights[-1].run_id == runs[-1].run_id and len(nights) > 1 and _is_drawn(measure.name)
        if (row := _row(key, measure, nights, since, [at for at in changes if at > since])) is not None
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: (not row.bad, row.key))
    body = render("trend.html", rows=rows, nights=len(recent))
    return Section("trend", "Night after night", body, MEASURES - 1)


def changed_since_green(runs: Sequence[RunRecord]) -> Changed | None:
    """Say what changed since the last run that passed, and which measures are worse since when.

    runs: of one flow and cluster, in order of time; the newest is compared. None for the very first run.
    """
    if len(runs) < 2:
        return None
    worse = tuple(_worse([each for each in worsened(runs) if each.ended is None], runs))
    green = last_green(runs, runs[-1])
    if green is None:
        return Changed("", worse=worse)
    lines = _lines(difference(green, runs[-1]), configuration_changes(green, runs[-1]) or ())
    return Changed(green.run_id, tuple(lines), worse)


def _worse(lasting: Sequence[Regression], runs: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """The measures that are in an incident, and the versions that changed when it began."""
    tonight = {measure.key: measure.value for measure in runs[-1].measures}
    said = []
    for worse in lasting[:MOST]:
        base, unit, first = worse.degradation.baseline, worse.measure.unit, worse.degradation.first.run_id
        value = format_value(tonight[worse.key], unit) if worse.key in tonight else "not measured"
        said.append(
            f"{worse.key}: {value}, calm {format_value(base.middle, unit)}, bad {base.side} "
            f"{format_value(base.limit, unit)}; since {first}"
        )
    said += [f"and {len(lasting) - MOST} more"] * (len(lasting) > MOST)
    firsts = dict.fromkeys(worse.degradation.first.run_id for worse in lasting)
    changes = ((first, changed_until(first, runs)) for first in firsts)
    told = [("worse", each) for each in said]
    return told + [("versions", f"{changed}, in {first}") for first, changed in changes if changed]


def _is_drawn(name: str) -> bool:
    return name not in NOT_DRAWN and (name in JUDGED or name in BESIDE)


def _row(
    key: str, measure: MeasureRow, nights: Sequence[Night], since: float, changes: Sequence[float]
) -> TrendRow | None:
    how, unit = JUDGED.get(measure.name), measure.unit
    last = judge(nights, how)[-1] if how else None
    base = last.base if last else None
    points = tuple((moment(night.at).timestamp(), night.value) for night in nights)
    drawn = tuple(point for point in points if point[0] >= since)
    chart = line_chart(
        key, [Series(key, drawn)], unit if unit in SHORT else "", width=WIDTH, height=HEIGHT,
        limit=base.limit if base else None, marks=changes,
    )  # fmt: skip
    if chart is None:
        return None
    before, tonight = [night.value for night in nights[:-1]], nights[-1].value
    return TrendRow(
        key,
        format_value(tonight, unit),
        format_value(base.middle if base else median(before[-Rule().window :]), unit),
        format_value(base.limit, unit) if base else "–",
        last is not None and last.bad,
        chart.picture,
    )


def _lines(found: Difference, configuration: Sequence[Change]) -> list[tuple[str, str]]:
    """A line per kind of change; what the newer run did not come to see is no change."""
    seen = sorted(
        (check for check in found.checks if check[2] != "infra-error"), key=lambda check: check[2] != "fail"
    )
    checks = [f"{name}: {then or 'not made'} → {now or 'not made'}" for name, then, now in seen]
    blind = [name for name, _, now in found.checks if now == "infra-error"]
    not_made = [listed(blind)] if blind else []
    versions = [f"{name} {then or '–'} → {now}" for name, then, now in found.versions if now]
    edges = [f"+ {edge.source} → {edge.target}" for edge in found.edges_gained]
    edges += [f"− {edge.source} → {edge.target}" for edge in found.edges_lost]
    findings = [f"+ {each.code} {each.resource}" for each in found.findings_new]
    findings += [f"− {each.code} {each.resource}" for each in found.findings_gone]
    kinds = {
        "versions": versions,
        "checks": checks,
        "could not be made": not_made,
        "configuration": [f"{each.what}: {each.object}" for each in configuration],
        "graph edges": edges,
        "findings": findings,
    }
    return [(kind, _named(lines)) for kind, lines in kinds.items() if lines]


def _named(lines: Sequence[str]) -> str:
    more = f"\nand {len(lines) - MOST} more" if len(lines) > MOST else ""
    return "\n".join(lines[:MOST]) + more
