"""The history on a terminal: tables, and a measure's course in one line of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meshlab.causes.snapshot import Change
from meshlab.history.difference import Difference, Flakiness
from meshlab.history.records import MeasureRow, RunRecord
from meshlab.history.regression import JUDGED, Judgement, Night, Rule, judge
from meshlab.history.series import Incident
from meshlab.report.units import format_value

BLOCKS = "▁▂▃▄▅▆▇█"
STYLES = {"pass": "green", "fail": "bold red", "error": "magenta"}
WHOLE = ("run", "before", "after", "since", "until", "check", "verdict", "edge of the graph")  # never folded
SIGNS = {"new": "+", "gone": "-", "changed": "~"}
WIDTH = 150  # columns where the output is no terminal
_BAR = 30  # characters of a bar


def sparkline(values: Sequence[float]) -> str:
    """One block per value, from the lowest to the highest of them; all the same are drawn at half height."""
    if not values:
        return ""
    low, high = min(values), max(values)
    if math.isclose(low, high):
        return BLOCKS[3] * len(values)
    steps = len(BLOCKS) - 1
    return "".join(BLOCKS[round((value - low) / (high - low) * steps)] for value in values)


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """One line per run, newest first."""
    table = _table("run", "flow", "cluster", "verdict", "checks", "> took", "> p50", "> p99", "Istio")
    for run in reversed(runs):
        passed = sum(check.verdict == "pass" for check in run.checks)
        made = sum(check.verdict != "skipped" for check in run.checks)
        table.add_row(
            run.run_id,
            run.flow,
            f"{run.provider}/{run.cluster}" if run.provider else "–",
            Text(run.verdict, style=STYLES.get(run.verdict, "")),
            f"{passed} of {made}",
            format_value(round(run.seconds), "s"),
            _shown(run, "request-p50{loop=fast}"),
            _shown(run, "request-p99{loop=fast}"),
            run.versions.get("istio.control_plane", "–"),
        )
    return table


def trend_view(
    series: str,
    measure: MeasureRow,
    nights: Sequence[Night],
    changes: Sequence[tuple[RunRecord, str]],
    *,
    last: int,
) -> Group:
    """Draw a measure over the runs of one flow and cluster.

    Its course, its numbers, the nights that were bad by the rule, and those at which versions changed.

    Args:
        series: The flow and cluster.
        measure: The measure.
        nights: All there are, the newest `last` are shown.
        changes: Runs whose versions changed, and how.
        last: How many nights are shown.

    Returns:
        What the terminal prints.
    """
    how = JUDGED.get(measure.name)
    judged = {each.night.run_id: each for each in judge(nights, how)} if how else {}
    shown = nights[-last:]
    values = [night.value for night in shown]
    table = _table("run", "> value", "")
    widest = max(map(abs, values)) or 1.0
    told = {run.run_id: text for run, text in changes if run.run_id != nights[0].run_id}
    for night in shown:
        bad = night.run_id in judged and judged[night.run_id].bad
        row = Text("█" * round(abs(night.value) / widest * _BAR), style="red" if bad else "cyan")
        if bad:
            row.append("  bad", style="bold red")
        if night.run_id in told:
            row.append(f"  versions changed: {told[night.run_id]}", style="yellow")
        table.add_row(night.run_id, format_value(night.value, measure.unit), row)
    summary = Text.assemble(
        (measure.key, "bold"), f" of {series}  {sparkline(values)}  last {format_value(values[-1], measure.unit)}, "
        f"between {format_value(min(values), measure.unit)} and {format_value(max(values), measure.unit)}",
    )  # fmt: skip
    last_one = judged.get(nights[-1].run_id)
    return Group(table, summary, Text(_judgement(measure, last_one, len(nights) - 1), "dim"), Text(""))


def _judgement(measure: MeasureRow, last: Judgement | None, before: int) -> str:
    if last is None:
        return "not judged: more or less of it is neither good nor bad"
    if last.base is None:
        return f"too little history to judge: {before} of {Rule().least} runs before the last"
    base = last.base
    return (
        f"the last is {'bad' if last.bad else 'good'}: held against {base.nights} calm runs, median "
        f"{format_value(base.middle, measure.unit)}, spread {format_value(base.spread, measure.unit)}, "
        f"{base.side} {format_value(base.limit, measure.unit)} is bad; "
        f"{Rule().nights} in a row are an incident"
    )


def flaky_table(found: Sequence[Flakiness]) -> RenderableType:
    """Checks that changed their minds."""
    if not found:
        return Text("no check changed its mind", style="green")
    table = _table("check", "> flips", "> runs", "verdicts", "last at")
    for each in found:
        verdicts = ", ".join(f"{count} {name}" for name, count in each.verdicts)
        table.add_row(each.check_id, str(each.flips), str(each.runs), verdicts, each.last_flip)
    return table


def difference_view(found: Difference, configuration: Sequence[Change] | None) -> Group:
    """Show what changed between two runs, part by part; what did not change is said too.

    Args:
        found: What their records tell.
        configuration: What changed in the mesh's configuration; None where the two runs did not both keep it.

    Returns:
        What the terminal prints.
    """
    parts: list[RenderableType] = [Text(f"{found.before}  →  {found.after}", style="bold")]
    checks = _table("check", "before", "after")
    for name, before, after in found.checks:
        checks.add_row(name, before or "not made", after or "not made")
    versions = _table("version of", "before", "after")
    for name, before, after in found.versions:
        versions.add_row(name, before or "–", after or "–")
    edges = _table("", "edge of the graph", "protocol")
    for sign, rows in (("+", found.edges_gained), ("-", found.edges_lost)):
        for edge in rows:
            edges.add_row(sign, f"{edge.source} → {edge.target}", edge.protocol)
    findings = _table("", "severity", "rule", "resource", "finding")
    for sign, listed in (("+", found.findings_new), ("-", found.findings_gone)):
        for each in listed:
            findings.add_row(sign, each.severity, each.code, each.resource, each.message)
    measures = _table("measure", "> before", "> after", "> change")
    for key, unit, then, now in found.measures:
        change = f"{(now - then) / abs(then):+.0%}" if then else "–"
        measures.add_row(key, format_value(then, unit), format_value(now, unit), change)
    objects = _table("", "configuration", "what differs")
    for altered in configuration or ():
        objects.add_row(SIGNS[altered.what], altered.object, altered.how)
    named = {"checks": checks, "configuration": objects, "graph edges": edges, "versions": versions,
             "findings": findings, "measures that moved by a tenth or more": measures}  # fmt: skip
    unknown = {} if found.edges_known else {"graph edges": "not counted by both runs"}
    unknown |= {} if configuration is not None else {"configuration": "not kept by both runs"}
    for name, table in named.items():
        same = unknown.get(name, "the same")
        parts.append(table if table.row_count else Text(f"{name}: {same}", style="dim"))
        parts.append(Text(""))
    return Group(*parts)


def incidents_view(incidents: Iterable[tuple[str, Incident]]) -> RenderableType:
    """Incidents with the flow and cluster that they are of, those that last first, then the newest first."""
    rows = [*incidents]
    if not rows:
        return Text("no incident", style="green")
    rows.sort(key=lambda row: (not row[1].ended, row[1].ended or row[1].began), reverse=True)
    several = len({series for series, _ in rows}) > 1
    table = _table("incident", "since", "until", "what happened")
    for series, each in rows:
        until = Text(each.ended) if each.ended else Text("now", style="bold red")
        told = [series] * several + [each.text] + [each.end_text] * bool(each.end_text)
        table.add_row(each.what, each.began, until, "\n".join(told))
    return table if several else Group(Text(rows[0][0], style="bold"), table)


def _shown(run: RunRecord, key: str) -> str:
    found = next((measure for measure in run.measures if measure.key == key), None)
    return format_value(found.value, found.unit) if found else "–"


def _table(*columns: str) -> Table:
    """A plain table; a column whose name begins with `> ` holds numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        right = name.startswith("> ")
        table.add_column(
            name.removeprefix("> "),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or name in WHOLE,
        )
    return table
