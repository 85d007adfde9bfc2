"""A run's directory and its journal.

Everything that happens in a run is one line of `evidence/journal.jsonl`, written when it happens: a killed
run still tells how far it came, and `result.json` is made from the journal alone (see `meshlab.run.result_file`).
Listeners of this process (terminal, Prefect artifacts) hear the same events.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from meshlab.core.errors import MeshlabError
from meshlab.core.progress import Update
from meshlab.core.redaction import redact, redact_value
from meshlab.core.registry import instance
from meshlab.run.results import CheckResult, Measure

Event = Mapping[str, Any]
log = logging.getLogger(__name__)
_lock = threading.Lock()


class _Unwritten:
    """Lines of a journal that found no room on the disk."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class _Audience:
    """Who hears the events and the progress reports of this process."""

    def __init__(self) -> None:
        self.events: list[Callable[[Event], None]] = []
        self.updates: list[Callable[[Update], None]] = []


@dataclass(frozen=True)
class RunRef:
    """Names a run: its id, its directory, its flow, when it began (RFC 3339, UTC). Passes between steps."""

    run_id: str
    directory: Path
    flow: str
    started: str

    @property
    def evidence(self) -> Path:
        """Folder of raw answers, logs and dumps."""
        return self.directory / "evidence"

    @property
    def journal(self) -> Path:
        """One JSON object per line, in the order in which things happened."""
        return self.evidence / "journal.jsonl"


def now() -> str:
    """The present moment as RFC 3339 in UTC, to the millisecond."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC, to the millisecond: such texts sort by time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run_id() -> str:
    """A name that sorts by time and fits labels: 20261123t180312z-1f3a."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{secrets.token_hex(2)}"


def create(runs_dir: Path, flow: str, *, run_id: str | None = None) -> RunRef:
    """Make the run's directory with its folders.

    Args:
        runs_dir: The folder of all runs.
        flow: The flow's name.
        run_id: Of the run; a new one where not given.

    Returns:
        The run.

    Raises:
        MeshlabError: The folder can't be written.
    """
    name = run_id or new_run_id()
    run = RunRef(name, (runs_dir / name).absolute(), flow, now())
    try:
        begin(run)
    except OSError as problem:
        raise MeshlabError(
            f"the run directory {run.directory} can't be made: {problem.strerror}",
            remedy="name another with --runs-dir",
        ) from problem
    if unwritten(run):
        raise MeshlabError(
            f"nothing can be written to the run directory {run.directory}",
            remedy="make room on its disk, or name another directory with --runs-dir",
        )
    return run


def begin(run: RunRef) -> None:
    """Make a run's folders and begin its journal. Raises OSError."""
    for folder in (run.evidence, run.directory / "pictures"):
        folder.mkdir(parents=True, exist_ok=True)
    record(run, {"event": "run", "run_id": run.run_id, "flow": run.flow, "started": run.started})


def record(run: RunRef, event: Event) -> None:
    """Append an event to the journal, then tell the listeners.

    The time is added as `at`; secrets are taken out.

    Args:
        run: The run.
        event: What happened; `event` names its kind.
    """
    event = redact_value(event)
    line = json.dumps(_plain({"at": now(), **event}), separators=(",", ":")) + "\n"
    with _lock:
        _append(run, line)
    for listener in tuple(instance(_Audience).events):
        listener(event)


def _append(run: RunRef, line: str) -> None:
    """Write a line, and those before it that found no room.

    Where that still fails all are held in memory: a full disk must not keep a run from removing what it made.
    """
    journal, lines = run.journal, instance(_Unwritten, run.run_id).lines
    lines.append(line)
    whole = "".join(lines).encode()
    try:
        with journal.open("ab+", buffering=0) as sink:
            whole = _mend(sink) + whole
            length = sink.seek(0, os.SEEK_END)
            try:
                if sink.write(whole) != len(whole):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                sink.truncate(length)  # what found room would be there twice
                raise
    except OSError as problem:
        if len(lines) == 1:
            log.warning(
                "the journal %s can't be written, which is tried again: %s", journal, problem.strerror
            )
        return
    lines.clear()


def unwritten(run: RunRef) -> bool:
    """Whether a part of the journal is in memory only, because its disk took no more."""
    return bool(instance(_Unwritten, run.run_id).lines)


def _mend(journal: IO[bytes]) -> bytes:
    """What must stand before the next line: a line break, after a line that a crash cut short."""
    if journal.seek(0, os.SEEK_END) == 0:
        return b""
    journal.seek(-1, os.SEEK_END)
    return b"" if journal.read(1) == b"\n" else b"\n"


def _plain(value: Any) -> Any:
    """A value as strict JSON can hold it: numbers that it lacks (NaN, +Inf) and foreign types become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+}".replace("inf", "Inf")
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def record_check(run: RunRef, check: CheckResult) -> CheckResult:
    """Write a check's result down; the last one of an id counts.

    Args:
        run: The run.
        check: The result.

    Returns:
        The result, for chaining.
    """
    record(run, {"event": "check", "asked_for": check.asked_for, **check.as_json()})
    return check


def keep_evidence(run: RunRef, name: str, value: Any) -> None:
    """Write a value into the evidence as JSON.

    Args:
        run: The run.
        name: The file's name below the evidence.
        value: Dataclasses, mappings and sequences; anything else as text.
    """

    def plain(inner: Any) -> Any:
        return asdict(inner) if is_dataclass(inner) and not isinstance(inner, type) else str(inner)

    text = json.dumps(value, indent=1, default=plain)
    (run.evidence / name).write_text(text, encoding="utf-8")


def record_measures(run: RunRef, *measures: Measure) -> None:
    """Write measures down.

    One without a finite value (a percentile of nothing) is left out.

    Args:
        run: The run.
        measures: The numbers.
    """
    for measure in measures:
        if math.isfinite(measure.value):
            record(run, {"event": "measure", **asdict(measure)})


def record_facts(run: RunRef, **facts: Any) -> None:
    """Write down what `result.json` names at its top: cluster, versions, images, distribution.

    Mappings are merged.

    Args:
        run: The run.
        facts: Key → value.
    """
    record(run, {"event": "facts", "facts": facts})


@contextmanager
def step(run: RunRef, name: str, *, attempt: int = 1, began: float | None = None) -> Iterator[None]:
    """Write the begin, end, time and failure of a step into the journal.

    Exceptions pass through.

    Args:
        run: The run.
        name: The step's name.
        attempt: Which try it is, from 1.
        began: Seconds since the epoch, for a step whose work was started before this process came to it.
    """
    start = time.monotonic() - (max(0.0, time.time() - began) if began else 0.0)
    record(run, {"event": "step", "name": name, "state": "started", "attempts": attempt})

    def ended(state: str, reason: str | None) -> None:
        _record_step(run, name, state, round(time.monotonic() - start, 3), attempt, reason)

    try:
        yield
    except BaseException as problem:
        ended("failed", str(problem) or type(problem).__name__)
        raise
    ended("done", None)


def skip_step(run: RunRef, name: str, reason: str) -> None:
    """Say that a step was not made, and why.

    Args:
        run: The run.
        name: The step's name.
        reason: Why, in a sentence.
    """
    _record_step(run, name, "skipped", 0.0, 0, reason)


def fail_step(run: RunRef, name: str, reason: str) -> None:
    """Say that something failed outside of any step.

    Args:
        run: The run.
        name: What failed.
        reason: Why, in a sentence.
    """
    _record_step(run, name, "failed", 0.0, 1, reason)


def _record_step(
    run: RunRef, name: str, state: str, seconds: float, attempts: int, reason: str | None
) -> None:
    outcome = {"state": state, "seconds": seconds, "attempts": attempts, "reason": reason}
    record(run, {"event": "step", "name": name, **outcome})


def note_signal(run: RunRef, signum: int) -> None:
    """Write down that a signal ended the run: its exit code follows from it, whatever becomes of the exception.

    Args:
        run: The run.
        signum: 2 (SIGINT) or 15 (SIGTERM).
    """
    record(run, {"event": "signal", "signum": signum})


def noted_signal(run: RunRef) -> int | None:
    """Return the first signal that ended the run since it began, or since it was taken up again; None where none did."""
    signals = (event for event in since_resumed(read_journal(run)) if event["event"] == "signal")
    return next((int(event["signum"]) for event in signals), None)


def since_resumed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events since the run began, or since it was taken up again."""
    again = [number for number, event in enumerate(events) if event["event"] == "resumed"]
    return events[again[-1] :] if again else events


def note_end(run: RunRef) -> None:
    """Say that the flow came to its end, its result written: what fails after it is not the lab's."""
    record(run, {"event": "ended"})


def ended(run: RunRef) -> bool:
    """Whether the flow came to its end, since it was begun or taken up again."""
    return any(event["event"] == "ended" for event in since_resumed(read_journal(run)))


def read_journal(run: RunRef) -> list[dict[str, Any]]:
    """All events so far. A line that a crash cut short is left out."""
    events = []
    with _lock:
        lines = [
            *run.journal.read_text(encoding="utf-8").splitlines(),
            *instance(_Unwritten, run.run_id).lines,
        ]
    for line in lines:
        with suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events


def report_progress(update: Update) -> None:
    """Hand a progress report to this process's watchers: the `progress` argument of long calls."""
    clean = replace(update, what=redact(update.what), detail=redact(update.detail))
    for watcher in tuple(instance(_Audience).updates):
        watcher(clean)


@contextmanager
def listening(
    events: Callable[[Event], None] | None = None, updates: Callable[[Update], None] | None = None
) -> Iterator[None]:
    """Hear this process's events and progress reports while the block runs.

    Args:
        events: Told each event.
        updates: Told each progress report.
    """
    audience = instance(_Audience)
    audience.events += [events] if events else []
    audience.updates += [updates] if updates else []
    try:
        yield
    finally:
        if events:
            audience.events.remove(events)
        if updates:
            audience.updates.remove(updates)
