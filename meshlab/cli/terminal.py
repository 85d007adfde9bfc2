"""What a person sees while a run goes on: a line per step, a bar for long work, one table at the end.

Where the output is no terminal the same story comes as plain lines, without colours or moving parts.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from meshlab.cli.earlier import NOTHING, Earlier
from meshlab.core.progress import Update
from meshlab.core.text import roughly
from meshlab.core.waiting import Clock, SystemClock
from meshlab.report.catches import lines
from meshlab.report.causes import Explained, arranged, best_of
from meshlab.run.compiles import COMPILE
from meshlab.run.journal import Event, listening
from meshlab.run.results import NOT_MADE

STYLES = {
    "pass": "bold green",
    "fail": "bold red",
    "broken": "bold magenta",
    "infra-error": "bold red",
    "skipped": "bold yellow",
    "done": "green",
    "failed": "bold red",
}
MARKS = {"done": "✓", "failed": "✗", "skipped": "–"}
LONGEST = 300  # characters of a reason that are shown while the run goes on
LAST_LINES = 8  # of a failed step's reason, below its first: where a child died, the end of its log
PLAIN_EVERY = 15.0  # seconds between plain progress lines of one piece of work


class View:
    """Draws the events and progress reports of one run on a console.

    earlier: what earlier runs took, from which the time that is left is told. As soon as this run compiles something it is
    compared with those that did, too.
    """

    def __init__(
        self, console: Console, *, clock: Clock | None = None, earlier: Earlier | None = None
    ) -> None:
        self.console = console
        self._earlier = earlier or Earlier()
        self._kind = NOTHING
        self._begun: list[tuple[str, float]] = []  # every step, and when
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._start = self._clock.now()
        self._running: dict[str, float] = {}
        self._work: dict[str, Update] = {}
        self._said: dict[str, tuple[float, str]] = {}
        self._live: Live | None = None

    @contextmanager
    def showing(self) -> Iterator[View]:
        """Draw while the block runs."""
        with listening(self.on_event, self.on_update):
            if not self.console.is_terminal:
                yield self
                return
            with Live(
                get_renderable=self._moving, console=self.console, refresh_per_second=8, transient=True
            ) as live:
                self._live = live
                try:
                    yield self
                finally:
                    self._live = None

    def on_event(self, event: Event) -> None:
        """A journal event: steps and failing checks are shown as they come."""
        if event["event"] == "step":
            self._on_step(event)
        elif event["event"] == "check" and event["verdict"] != "pass" and event["summary"] != NOT_MADE:
            said = event.get("reason") or event["summary"]
            said = (
                said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
            )  # the table at the end has all of it
            verdict = (event["verdict"], STYLES[event["verdict"]])
            self._print(Text.assemble("    ", verdict, f"  {event['id']}: {said}"))
        elif event["event"] == "warning":
            self._print(Text(f"  ! {event['text']}", style="bold yellow"))
        elif event["event"] == COMPILE and self._kind == NOTHING:
            with self._lock:
                self._kind = event["what"]
                if not self._live and (left := self._left()):  # what was said before holds no longer
                    self._print(Text(f"  … {event['what']}  ({left})"))

    def on_update(self, update: Update) -> None:
        """A progress report: the bar moves; plain output says it now and then."""
        with self._lock:
            if update.total and update.done >= update.total:
                self._work.pop(update.what, None)
            else:
                self._work[update.what] = update
        if self._live is None:
            self._plain(update)

    def _on_step(self, event: Event) -> None:
        name, state = event["name"], event["state"]
        with self._lock:
            if state == "started":
                self._running[name] = self._clock.now()
                self._begun.append((name, self._clock.now()))
                if not self._live:
                    left = self._left()
                    self._print(Text(f"  … {name}{f'  ({left})' if left else ''}"))
                return
            self._running.pop(name, None)
            if not self._running:
                self._work.clear()
        took = (f"{event['seconds']:7.1f} s", "dim")
        line = Text.assemble("  ", (MARKS[state], STYLES[state]), f" {name:<28}", took)
        if event["attempts"] > 1:
            line.append(f"  at attempt {event['attempts']}")
        if event.get("reason"):
            line.append(f"  {event['reason'].splitlines()[0]}", style="yellow")
        self._print(line)
        if state == "failed" and event.get("reason"):
            for more in event["reason"].splitlines()[1:][-LAST_LINES:]:
                self._print(Text(f"      {more}", style="yellow"))

    def _left(self) -> str:
        """How long the run still takes if it goes on as earlier ones did from the step that began last; empty where unknown."""
        rest = self._earlier.of(self._kind).rest
        ends = next((since + rest[name] for name, since in reversed(self._begun) if name in rest), 0.0)
        left = ends - self._clock.now()
        return f"about {roughly(left)} left" if left > 0 else ""

    def _print(self, line: RenderableType) -> None:
        with self._lock:
            self.console.print(line, highlight=False, soft_wrap=not self.console.is_terminal)

    def _plain(self, update: Update) -> None:
        moment = self._clock.now()
        said_at, said = self._said.get(update.what, (-math.inf, ""))
        text = f"{update.percent:3.0f} %  {update.detail}" if update.percent is not None else update.detail
        complete = update.total > 0 and update.done >= update.total
        if text != said and (complete or moment - said_at >= PLAIN_EVERY):
            self._said[update.what] = (moment, text)
            self._print(Text(f"      {update.what}: {text}"))

    def _moving(self) -> RenderableType:
        with self._lock:
            rows = Table.grid(padding=(0, 1))
            took = self._earlier.of(self._kind).took
            for name, since in self._running.items():
                usual = f" of about {took[name]:.0f} s" if name in took else ""
                so_far = Text(f"{self._clock.now() - since:5.1f} s{usual}", style="dim")
                rows.add_row(Spinner("dots"), Text(name), so_far, "")
            for update in list(self._work.values())[-4:]:
                bar = ProgressBar(
                    total=100, completed=update.percent or 0, width=24, pulse=update.percent is None
                )
                percent = "" if update.percent is None else f"{update.percent:3.0f} %"
                rows.add_row(
                    "", Text(update.what, style="cyan"), bar, Text(f"{percent} {update.detail}"[:60])
                )
            left = self._left()
            whole = f"  {self._clock.now() - self._start:.0f} s{f', {left}' if left else ''}"
            total = Text(whole, style="dim")
            return Group(rows, total)


def checks_table(result: Mapping[str, Any]) -> Table:
    """The one table at the end: every check with its verdict, what was seen, and how long it took."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    table.add_column("s", justify="right", style="dim", no_wrap=True)
    causes = result.get("causes", ())
    best = best_of(causes)
    for row in arranged(result["checks"], causes):
        if not isinstance(row, Explained):
            _add_check(table, row, best.get(row["id"]))
            continue
        seen = Text(f"{row.object} {row.why}", style="bold")
        seen.append(f"\n{row.change}" if row.change else "", style="dim")
        seen.append(f"\n→ {row.remedy}", style="cyan")
        table.add_row(Text(row.title), Text("fail", style=STYLES["fail"]), seen, "")
        for check in row.checks:  # what is to be done is said above, once
            _add_check(table, {**check, "id": f"  {check['id']}", "remedy": ""}, None)
    return table


def _add_check(table: Table, check: Mapping[str, Any], cause: Mapping[str, str] | None) -> None:
    seen = Text(check["summary"])
    if cause is not None:
        seen.append(f"\n{cause['object']} {cause['why']}", style="bold")
    if check["verdict"] != "pass":
        if check["reason"] and check["reason"] not in check["summary"]:
            seen.append(f"\n{check['reason']}", style="yellow")
        if check["remedy"]:
            seen.append(f"\n→ {check['remedy']}", style="cyan")
    verdict = Text(check["verdict"], style=STYLES[check["verdict"]])
    table.add_row(Text(check["id"]), verdict, seen, f"{check['seconds']:.1f}")


def catches_table(result: Mapping[str, Any]) -> Table:
    """Planted faults: which checks each turned red, and which it should have or should not."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    styles = {"missed by": "bold red", "red, unexpected": "bold red", "caught by": "green"}
    rows = lines(result["catches"])
    shown = [name for name in rows[0] if any(row[name] for row in rows)]
    for name in shown:
        table.add_column(name, no_wrap=name == "fault", style=styles.get(name, ""), overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row[name])) for name in shown))
    return table


def closing(console: Console, result: Mapping[str, Any], code: int, directory: str, hints: list[str]) -> None:
    """The end of a run: the table, the verdict, where the evidence is, the next command to type."""
    console.print()
    if result["checks"]:
        console.print(checks_table(result))
    if result.get("catches"):
        console.print()
        console.print(catches_table(result))
    counts: dict[str, int] = {}
    for check in result["checks"]:
        counts[check["verdict"]] = counts.get(check["verdict"], 0) + 1
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no check was made"
    style = {"pass": "bold green", "fail": "bold red"}.get(result["verdict"], "bold magenta")
    console.print()
    console.print(Text.assemble((f"verdict: {result['verdict']}", style), f"  ({tally}; exit code {code})"))
    for failed in (step for step in result["steps"] if step["state"] == "failed"):
        console.print(Text(f"step {failed['name']} failed: {failed['reason']}", style="red"), soft_wrap=True)
    console.print(Text(f"evidence: {directory}"), soft_wrap=True)
    if result.get("published"):
        console.print(Text(f"published: {result['published']}"), soft_wrap=True)
    for hint in hints:
        console.print(Text(f"next: {hint}", style="cyan"), soft_wrap=True)
