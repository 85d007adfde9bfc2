"""The history on a terminal: tables, and a measure's course in one line of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meshlab.history.difference import Difference, Flakiness
from meshlab.history.records import MeasureRow, RunRecord
from meshlab.history.regression import Night, Rule, baseline, judged_as
from meshlab.history.series import Trouble
from meshlab.report.units import format_value

BLOCKS = "▁▂▃▄▅▆▇█"
STYLES = {"pass": "green", "fail": "bold red", "error": "magenta"}
WHOLE = ("run", "before", "after", "since", "until", "check", "verdict", "edge of the graph")  # never folded
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
    measure: MeasureRow, nights: Sequence[Night], changes: Sequence[tuple[RunRecord, str]]
) -> Group:
    """A measure over runs: its course, its numbers, and the nights at which versions changed."""
    values = [night.value for night in nights]
    how = judged_as(measure.name)
    base = baseline(values[:-1], how) if how else None
    table = _table("run", "> value", "")
    widest = max(map(abs, values)) or 1.0
    told = {run.run_id: text for run, text in changes}
    for night in nights:
        bad = base is not None and base.exceeded(night.value)
        bar = "█" * round(abs(night.value) / widest * _BAR)
        row = Text(bar, style="red" if bad else "cyan")
        if night.run_id in told:
            row.append(f"  versions changed: {told[night.run_id]}", style="yellow")
        table.add_row(night.run_id, format_value(night.value, measure.unit), row)
    summary = Text.assemble(
        (measure.key, "bold"), f"  {sparkline(values)}  last {format_value(values[-1], measure.unit)}, "
        f"between {format_value(min(values), measure.unit)} and {format_value(max(values), measure.unit)}",
    )  # fmt: skip
    return Group(table, summary, Text(_judgement(measure, how is not None, base is not None, values), "dim"))


def _judgement(measure: MeasureRow, judged: bool, enough: bool, values: Sequence[float]) -> str:
    how, rule = judged_as(measure.name), Rule()
    if not judged or how is None:
        return "not judged: more or less of it is neither good nor bad"
    base = baseline(values[:-1], how)
    if not enough or base is None:
        return f"too little history to judge: {len(values) - 1} of {rule.least} runs before the last"
    return (
        f"median of {base.nights} runs before the last {format_value(base.middle, measure.unit)}, "
        f"spread {format_value(base.spread, measure.unit)}, "
        f"{'above' if base.bad == 'up' else 'below'} {format_value(base.limit, measure.unit)} is bad; "
        f"{rule.nights} in a row are an incident"
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


def difference_view(found: Difference) -> Group:
    """What changed between two runs, part by part; what did not change is said too."""
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
    named = {"checks": checks, "graph edges": edges, "versions": versions, "findings": findings,
             "measures that moved by a tenth or more": measures}  # fmt: skip
    for name, table in named.items():
        parts.append(table if table.row_count else Text(f"{name}: the same", style="dim"))
        parts.append(Text(""))
    return Group(*parts)


def troubles_view(troubles: Iterable[Trouble]) -> RenderableType:
    """Incidents, those that last first."""
    rows = sorted(troubles, key=lambda trouble: (bool(trouble.ended), trouble.began))
    if not rows:
        return Text("no incident", style="green")
    table = _table("incident", "since", "until", "what happened")
    for each in rows:
        until = Text(each.ended) if each.ended else Text("now", style="bold red")
        table.add_row(each.what, each.began, until, f"{each.text}\n{each.end_text}".strip())
    return table


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
