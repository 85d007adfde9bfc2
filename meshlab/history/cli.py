"""`python -m flows.history`: look at earlier runs. Reads only; nothing of Prefect is needed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.text import Text

from meshlab.config import load
from meshlab.errors import HistoryError, InputError
from meshlab.history.difference import difference, flakiest
from meshlab.history.records import RunRecord, moment
from meshlab.history.series import Trouble, missed, reds, regressions, series_of, version_changes
from meshlab.history.store import History, cluster_key, history_path
from meshlab.history.view import WIDTH, difference_view, flaky_table, runs_table, trend_view, troubles_view
from meshlab.report.charts import line_chart
from meshlab.report.material import Series
from meshlab.report.svg import standalone
from meshlab.settings import Machine


def main(arguments: Sequence[str], *, program: str, about: str) -> int:
    """The whole command; returns the exit code: 0, or 2 for bad input (no history, no such run or measure)."""
    words = parser(program, about).parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    try:
        with _open(words.path) as history:
            COMMANDS[words.command](history, words, console)
    except (HistoryError, InputError) as problem:
        Console(stderr=True).print(Text(f"{program}: {problem}"), soft_wrap=True)
        return 2
    return 0


def parser(program: str, about: str) -> argparse.ArgumentParser:
    """The commands and their flags."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--path", type=Path, metavar="FILE", help="the history; else the setting history.path"
    )
    common.add_argument("--flow", help="runs of this flow only: full-lab, nightly-validation, …")
    common.add_argument("--cluster", metavar="PROVIDER/NAME", help="runs on this cluster only")
    common.add_argument("--last", type=_count, default=30, metavar="N", help="the newest N runs (30)")
    shown = argparse.ArgumentParser(
        prog=program, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = shown.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("runs", parents=[common], help="list the runs")
    trend = commands.add_parser("trend", parents=[common], help="draw a measure over the runs")
    trend.add_argument("measure", help="its name, with labels where it has some: 'request-p50{loop=fast}'")
    trend.add_argument("--svg", type=Path, metavar="FILE", help="write the chart to this file, too")
    commands.add_parser(
        "flaky", parents=[common], help="checks that changed between pass and not, flakiest first"
    )
    diff = commands.add_parser("diff", parents=[common], help="what differs between two runs")
    diff.add_argument("before", nargs="?", help="a run's id; the newest but one when not given")
    diff.add_argument("after", nargs="?", help="a run's id; the newest when not given")
    incidents = commands.add_parser(
        "incidents",
        parents=[common],
        help="measures that got worse, runs that failed, nights that were missed",
    )
    incidents.add_argument(
        "--every", type=_hours, metavar="HOURS", help="a run is due so often; unset: not judged"
    )
    return shown


def troubles_of(runs: Sequence[RunRecord], *, every: timedelta | None, now: datetime) -> list[Trouble]:
    """Every incident of these runs, flow by flow and cluster by cluster."""
    found = []
    for series in sorted({(run.flow, cluster_key(run)) for run in runs}):
        mine = [run for run in runs if (run.flow, cluster_key(run)) == series]
        found += [*reds(mine), *regressions(mine)]
        if every is not None:
            found += missed(mine, every=every, now=now)
    return found


def _open(path: Path | None) -> History:
    loaded = load({})
    if loaded.problems:
        raise InputError(loaded.problems)
    return History(path or history_path(loaded.config, Machine.here()), create=False)


def _chosen(history: History, words: argparse.Namespace) -> list[RunRecord]:
    runs = history.runs(flow=words.flow, cluster=words.cluster, last=words.last)
    if not runs:
        known = sorted({(run.flow, cluster_key(run)) for run in history.runs()})
        there = ", ".join(f"{flow} on {cluster}" for flow, cluster in known) or "none at all"
        raise HistoryError("no run fits", remedy=f"there are runs of: {there}")
    return runs


def _runs(history: History, words: argparse.Namespace, console: Console) -> None:
    console.print(runs_table(_chosen(history, words)))


def _trend(history: History, words: argparse.Namespace, console: Console) -> None:
    runs = _chosen(history, words)
    known = series_of(runs)
    keys = [key for key, (row, _) in known.items() if words.measure in (key, row.name)]
    if not keys:
        raise HistoryError(
            f"no run has a measure {words.measure!r}", remedy=f"there are: {', '.join(sorted(known))}"
        )
    changes = version_changes(runs)
    for key in keys:
        console.print(trend_view(*known[key], changes))
    if words.svg is not None:
        unit = known[keys[0]][0].unit
        lines = [
            Series(key, tuple((moment(night.at).timestamp(), night.value) for night in known[key][1]))
            for key in keys
        ]
        chart = line_chart(words.measure, lines, unit)
        assert chart is not None  # every series has a value
        try:
            words.svg.write_text(standalone(chart.picture), encoding="utf-8")
        except OSError as problem:
            raise HistoryError(
                f"{words.svg} can't be written: {problem.strerror}", remedy="name another file with --svg"
            ) from problem
        console.print(f"chart: {words.svg}")


def _flaky(history: History, words: argparse.Namespace, console: Console) -> None:
    console.print(flaky_table(flakiest(_chosen(history, words))))


def _diff(history: History, words: argparse.Namespace, console: Console) -> None:
    if words.before is None:
        runs = _chosen(history, words)
        if len(runs) < 2:
            raise HistoryError(
                "there is one run only: nothing to compare it with", remedy="run the flow again"
            )
        before, after = runs[-2:]
    else:
        before = history.run(words.before)
        after = history.run(words.after) if words.after else _chosen(history, words)[-1]
    console.print(difference_view(difference(before, after)))


def _incidents(history: History, words: argparse.Namespace, console: Console) -> None:
    runs = _chosen(history, words)
    every = timedelta(hours=words.every) if words.every else None
    console.print(troubles_view(troubles_of(runs, every=every, now=datetime.now(UTC))))


COMMANDS = {"runs": _runs, "trend": _trend, "flaky": _flaky, "diff": _diff, "incidents": _incidents}


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _hours(text: str) -> float:
    value = float(text)
    if not 0 < value <= 24 * 366:
        raise argparse.ArgumentTypeError("must be hours, more than 0 and at most a year")
    return value
