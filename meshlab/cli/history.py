"""`python -m flows.history`: look at earlier runs. Nothing of Prefect is needed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from meshlab.config.loader import load
from meshlab.config.settings import ALERT_WEBHOOK, Machine
from meshlab.core.errors import AlertError, HistoryError, InputError
from meshlab.history.alerts import Webhook, tell
from meshlab.history.difference import configuration_changes, difference, flakiest
from meshlab.history.nights import incidents_of
from meshlab.history.records import RunRecord, moment
from meshlab.history.series import Incident, series_name, series_of, version_changes
from meshlab.history.store import History, history_path
from meshlab.history.view import WIDTH, difference_view, flaky_table, incidents_view, runs_table, trend_view
from meshlab.report.charts import line_chart
from meshlab.report.material import Series
from meshlab.report.publish import opened_at
from meshlab.report.svg import standalone

Number = TypeVar("Number", int, float)
MOST_RUNS = 100_000  # that --last takes


def main(arguments: Sequence[str], *, program: str, about: str) -> int:
    """Run `python -m flows.history`.

    Args:
        arguments: The command line, without the program.
        program: What the help calls the command.
        about: The help's description.

    Returns:
        The exit code: 0, 2 for bad input (no history, no such run or measure), 3 where an alert did not get
        through.
    """
    words = parser(program, about).parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    try:
        with _open(words.path) as history:
            COMMANDS[words.command](history, words, console)
    except (HistoryError, InputError, AlertError) as problem:
        Console(stderr=True).print(Text(f"{program}: {problem}"), soft_wrap=True)
        return 3 if isinstance(problem, AlertError) else 2
    return 0


def parser(program: str, about: str) -> argparse.ArgumentParser:
    """The commands and their flags."""
    shown = argparse.ArgumentParser(
        prog=program, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = shown.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("runs", parents=[_common()], help="list the runs")
    trend = commands.add_parser("trend", parents=[_common()], help="draw a measure over the runs")
    trend.add_argument("measure", help="its name, with labels where it has some: 'request-p50{loop=fast}'")
    trend.add_argument("--svg", type=Path, metavar="FILE", help="write the chart to this file, too")
    commands.add_parser(
        "flaky", parents=[_common()], help="checks that changed between pass and not, flakiest first"
    )
    diff = commands.add_parser("diff", parents=[_common()], help="what differs between two runs")
    diff.add_argument(
        "before", nargs="?", metavar="RUN", help="with a second: the earlier one; alone: what changed in it"
    )
    diff.add_argument("after", nargs="?", metavar="RUN", help="none: what changed in the newest run")
    incidents = commands.add_parser(
        "incidents",
        parents=[_common()],
        help="measures that got worse, runs that failed, nights that were missed",
    )
    incidents.add_argument(
        "--every", type=_hours, metavar="HOURS", help="a run is due so often; unset: not judged"
    )
    told = commands.add_parser(
        "tell",
        parents=[_common(flow="nightly-validation")],
        help="send what began or ended to the webhook, once; from cron it notices that no run came",
    )
    told.add_argument(
        "--every", type=_hours, default=24.0, metavar="HOURS", help="a run is due so often (24)"
    )
    return shown


def _common(flow: str | None = None) -> argparse.ArgumentParser:
    """The flags of every command, in a parser of its own: a default that one command sets is then no other's.

    flow: the value of --flow where it is not given.
    """
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--path", type=Path, metavar="FILE", help="the history; else the setting history.path"
    )
    common.add_argument(
        "--flow",
        default=flow,
        help=f"runs of this flow only: full-lab, nightly-validation, … ({flow or 'all flows'})",
    )
    common.add_argument("--cluster", metavar="PROVIDER/NAME", help="runs on this cluster only")
    common.add_argument(
        "--last", type=_count, default=30, metavar="N", help="the newest N runs (30) of each flow and cluster"
    )
    return common


def _open(path: Path | None) -> History:
    loaded = load({})
    if loaded.problems:
        raise InputError(loaded.problems)
    return History(path or history_path(loaded.config, Machine.here()), create=False)


def _chosen(history: History, words: argparse.Namespace) -> list[list[RunRecord]]:
    """Runs that fit, whole series by series (one flow on one cluster), that with the newest run last."""
    found: dict[str, list[RunRecord]] = {}
    for run in history.runs(flow=words.flow, cluster=words.cluster):
        found.setdefault(series_name(run), []).append(run)
    if not found:
        known = sorted({series_name(run) for run in history.runs()})
        there = f"there are runs of: {', '.join(known)}" if known else "run a flow first"
        raise HistoryError("no run fits", remedy=there)
    return sorted(found.values(), key=lambda runs: runs[-1].started)


def _runs(history: History, words: argparse.Namespace, console: Console) -> None:
    newest = [run for series in _chosen(history, words) for run in series[-words.last :]]
    console.print(runs_table(sorted(newest, key=lambda run: run.started)))


def _trend(history: History, words: argparse.Namespace, console: Console) -> None:
    """Each measure of each series by itself: runs of different flows or clusters are no course of anything."""
    series = _chosen(history, words)
    shown: list[Series] = []
    unit = ""
    for runs in series:
        changes = version_changes(runs)
        for key, (row, nights) in series_of(runs).items():
            if words.measure in (key, row.name):
                name = series_name(runs[-1])
                console.print(trend_view(name, row, nights, changes, last=words.last))
                points = ((moment(night.at).timestamp(), night.value) for night in nights[-words.last :])
                shown.append(Series(f"{key}, {name}" if len(series) > 1 else key, tuple(points)))
                unit = row.unit
    if not shown:
        known = sorted({key for runs in series for key in series_of(runs)})
        raise HistoryError(f"no run has a measure {words.measure!r}", remedy=f"there are: {', '.join(known)}")
    if words.svg is not None:
        chart = line_chart(words.measure, shown, unit)
        assert chart is not None  # every series has a value
        try:
            words.svg.write_text(standalone(chart.picture), encoding="utf-8")
        except OSError as problem:
            raise HistoryError(
                f"{words.svg} can't be written: {problem.strerror}", remedy="name another file with --svg"
            ) from problem
        console.print(f"chart: {words.svg}")


def _flaky(history: History, words: argparse.Namespace, console: Console) -> None:
    console.print(
        flaky_table(flakiest([run for runs in _chosen(history, words) for run in runs[-words.last :]]))
    )


def _diff(history: History, words: argparse.Namespace, console: Console) -> None:
    """Two runs that are named; or the newest, or one that is named, with the one before it of its flow and cluster."""
    named = [name for name in (words.before, words.after) if name is not None]
    known = {run.run_id: run for run in history.runs()}
    unknown = [name for name in named if name not in known]
    if unknown:
        newest = ", ".join([*known][-3:]) or "none"
        raise HistoryError(
            f"the history has no run {' and no run '.join(map(repr, unknown))}",
            remedy=f"the newest are: {newest}",
        )
    if len(named) == 2:
        before, after = (known[name] for name in named)
    else:
        after = known[named[0]] if named else _chosen(history, words)[-1][-1]
        earlier = [run for run in history.runs_until(after.run_id) if run.started < after.started]
        if not earlier:
            raise HistoryError(
                f"{after.run_id} is the first run of {series_name(after)}: nothing to compare it with",
                remedy="name two runs, or run the flow again",
            )
        before = earlier[-1]
    for run in (before, after):
        if run.published:
            console.print(Text(f"report of {run.run_id}: {opened_at(run.published)}"), soft_wrap=True)
    console.print(difference_view(difference(before, after), configuration_changes(before, after)))


def _incidents(history: History, words: argparse.Namespace, console: Console) -> None:
    """Judged from all runs, as the alerts are; shown are those that last or reach into the newest runs."""
    now, every = datetime.now(UTC), timedelta(hours=words.every) if words.every else None
    shown: list[tuple[str, Incident]] = []
    for runs in _chosen(history, words):
        recent = {run.run_id for run in runs[-words.last :]}
        found = incidents_of(runs, every=every, now=now)
        shown += [(series_name(runs[-1]), each) for each in found if not each.ended or each.ended in recent]
    console.print(incidents_view(shown))


def _tell(history: History, words: argparse.Namespace, console: Console) -> None:
    webhook = Machine.here().alert_webhook
    if webhook is None:
        raise HistoryError("no webhook for alerts is set", remedy=f"put its address into {ALERT_WEBHOOK}")
    sent = 0
    for runs in _chosen(history, words):
        newest = runs[-1]
        incidents = incidents_of(runs, every=timedelta(hours=words.every), now=datetime.now(UTC))
        told = tell(
            history,
            incidents,
            Webhook(webhook),
            series=series_name(newest),
            latest=newest.run_id,
            context=f"newest run {newest.run_id}: {opened_at(newest.published) or newest.directory}",
        )
        sent += len(told)
    console.print(f"{sent} messages sent")


COMMANDS = {
    "runs": _runs,
    "trend": _trend,
    "flaky": _flaky,
    "diff": _diff,
    "incidents": _incidents,
    "tell": _tell,
}


def _count(text: str) -> int:
    return _within(int, text, 1, MOST_RUNS, f"a number of runs, 1 to {MOST_RUNS}")


def _hours(text: str) -> float:
    return _within(float, text, 0.01, 24 * 366, "hours, 0.01 to a year's")


def _within(kind: Callable[[str], Number], text: str, least: float, most: float, what: str) -> Number:
    """Read a flag's number. Raises ArgumentTypeError for anything else and for one out of its bounds."""
    with suppress(ValueError):
        if least <= (value := kind(text)) <= most:
            return value
    raise argparse.ArgumentTypeError(f"must be {what}")
