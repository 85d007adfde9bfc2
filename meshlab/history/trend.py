"""The report's look back: small charts of the last nights beside tonight's values, and what changed since a green run.

Pure: runs in, markup and lines out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from meshlab.history.difference import Difference, difference, last_green
from meshlab.history.records import MeasureRow, RunRecord, moment
from meshlab.history.regression import Night, baseline, judged_as
from meshlab.history.series import series_of
from meshlab.report.charts import line_chart
from meshlab.report.html import Changed
from meshlab.report.material import Series
from meshlab.report.rendering import render
from meshlab.report.sections import MEASURES, Section
from meshlab.report.svg import Picture
from meshlab.report.units import format_value

NIGHTS = 30  # that are drawn
MOST = 6  # of a kind of change that are named; how many more there are is said
WIDTH, HEIGHT = 240, 64  # CSS pixels of a small chart
BESIDE = ("dashboard-queries",)  # drawn though nobody judges them
NOT_DRAWN = ("step-seconds", "success-rate")  # too many; the same as another


@dataclass(frozen=True)
class TrendRow:
    """One measure. bad: tonight is beyond the limit. limit: "–" where it is not judged or history is short."""

    key: str
    tonight: str
    middle: str
    limit: str
    bad: bool
    picture: Picture


def trend_section(runs: Sequence[RunRecord]) -> Section | None:
    """Measures of the newest run beside those before it; None while there is only one run.

    runs: of one flow and cluster, in order of time.
    """
    recent = runs[-NIGHTS:]
    if len(recent) < 2:
        return None
    rows = [
        row
        for key, (measure, nights) in series_of(recent).items()
        if nights[-1].run_id == recent[-1].run_id and len(nights) > 1 and _is_drawn(measure.name)
        if (row := _row(key, measure, nights)) is not None
    ]
    if not rows:
        return None
    body = render("trend.html", rows=sorted(rows, key=lambda row: row.key), nights=len(recent))
    return Section("trend", "Night after night", body, MEASURES - 1)


def changed_since_green(runs: Sequence[RunRecord]) -> Changed | None:
    """What differs between the newest run and the last one before it that passed; None for the very first run."""
    if len(runs) < 2:
        return None
    green = last_green(runs, runs[-1])
    if green is None:
        return Changed("")
    return Changed(green.run_id, tuple(_lines(difference(green, runs[-1]))))


def _is_drawn(name: str) -> bool:
    return name not in NOT_DRAWN and (judged_as(name) is not None or name in BESIDE)


def _row(key: str, measure: MeasureRow, nights: Sequence[Night]) -> TrendRow | None:
    points = tuple((moment(night.at).timestamp(), night.value) for night in nights)
    chart = line_chart(key, [Series(key, points)], measure.unit, width=WIDTH, height=HEIGHT)
    if chart is None:
        return None
    before, tonight = [night.value for night in nights[:-1]], nights[-1].value
    how = judged_as(measure.name)
    base = baseline(before, how) if how else None
    return TrendRow(
        key,
        format_value(tonight, measure.unit),
        format_value(median(before), measure.unit),
        format_value(base.limit, measure.unit) if base else "–",
        base is not None and base.exceeded(tonight),
        chart.picture,
    )


def _lines(found: Difference) -> list[tuple[str, str]]:
    """A line per kind of change."""
    checks = [f"{name}: {then or 'not made'} → {now or 'not made'}" for name, then, now in found.checks]
    versions = [f"{name} {then or '–'} → {now or '–'}" for name, then, now in found.versions]
    edges = [f"+ {edge.source} → {edge.target}" for edge in found.edges_gained]
    edges += [f"− {edge.source} → {edge.target}" for edge in found.edges_lost]
    findings = [f"+ {each.code} {each.resource}" for each in found.findings_new]
    findings += [f"− {each.code} {each.resource}" for each in found.findings_gone]
    kinds = {"versions": versions, "checks": checks, "graph edges": edges, "findings": findings}
    return [(kind, _named(lines)) for kind, lines in kinds.items() if lines]


def _named(lines: Sequence[str]) -> str:
    more = f"\nand {len(lines) - MOST} more" if len(lines) > MOST else ""
    return "\n".join(lines[:MOST]) + more
