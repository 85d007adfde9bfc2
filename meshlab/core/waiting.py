"""The one wait loop.

Model: jubilant's `wait(ready, error, delay, timeout, successes)`, with a clock that tests replace.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from meshlab.core.cancellation import REMEDY, stopping
from meshlab.core.errors import MeshlabError, WaitTimeout

log = logging.getLogger(__name__)
State = TypeVar("State")


class Clock(Protocol):
    """Where time comes from. Both methods use seconds; `now` is monotonic."""

    def now(self) -> float:
        """Return the time, in seconds."""

    def sleep(self, seconds: float) -> None:
        """Pause for so many seconds."""


class SystemClock:
    """The machine's monotonic clock. With a stop event, a sleep ends as soon as the event is set."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop

    def now(self) -> float:
        """Return the seconds since some moment before the process began."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Pause for so many seconds, or until the stop event is set."""
        if self._stop is None:
            time.sleep(seconds)
        else:
            self._stop.wait(seconds)


def wait(
    what: str,
    probe: Callable[[], State],
    *,
    ready: Callable[[State], bool],
    timeout: float,
    error: Callable[[State], MeshlabError | None] | None = None,
    describe: Callable[[State], str] = str,
    explain: Callable[[], str] | None = None,
    delay: float = 0.5,
    successes: int = 1,
    remedy: str = "",
    clock: Clock | None = None,
    on_change: Callable[[str], None] | None = None,
) -> State:
    """Ask until the answer is good, several times in a row if asked to.

    A probe that raises a retryable MeshlabError counts as "not yet" with that error as its state text; any
    other exception passes through.

    Args:
        what: The thing awaited, for messages.
        probe: Asks; called at once, then after each delay.
        ready: Tells whether a state is good.
        timeout: Seconds.
        error: Returns an exception for a state that can't heal, which ends the wait at once.
        describe: One line about a state; it is logged, and handed to on_change, only when it changes.
        explain: Asked once after the deadline for the cause (pod events, image, quota), joined to the
            message.
        delay: Seconds.
        successes: How many good states in a row end the wait.
        remedy: Of the timeout; without it that of the error which the last probe raised.
        clock: Of the wait; the real one where not given.
        on_change: Told each new line about the state.

    Returns:
        The state that was good.

    Raises:
        WaitTimeout: The deadline passed (the probe is asked at least once).
        MeshlabError: What `error` returned.
    """
    stop = stopping()
    clock = clock or SystemClock(stop)
    start = clock.now()
    seen = ""
    in_a_row = 0
    while True:
        try:
            state = probe()
        except MeshlabError as problem:
            if not problem.retryable:
                raise
            text, hint, in_a_row = problem.message, problem.remedy, 0
        else:
            text, hint = describe(state), ""
            fatal = error(state) if error else None
            if fatal is not None:
                raise fatal
            in_a_row = in_a_row + 1 if ready(state) else 0
            if in_a_row >= successes:
                log.debug("%s: ready after %.1f s", what, clock.now() - start)
                return state
        if text != seen:
            log.debug("%s: %s", what, text)
            if on_change:
                on_change(text)
            seen = text
        if stop is not None and stop.is_set():
            raise MeshlabError(
                f"the wait for {what} was ended, because the run ends; last seen: {seen}", remedy=REMEDY
            )
        waited = clock.now() - start
        if waited >= timeout:
            cause = _cause(explain) if explain else ""
            last = f"{seen}; {cause}" if cause else seen
            raise WaitTimeout(what, last=last, seconds=waited, remedy=remedy or hint)
        clock.sleep(min(delay, max(timeout - waited, 0.0)))


def wait_or_last(what: str, probe: Callable[[], State], **options: Any) -> State:
    """Wait as `wait` does, but return what the last probe saw after the deadline, too: it is to be judged.

    Args:
        what: The thing awaited, for messages.
        probe: Asks.
        options: Those of `wait`.

    Returns:
        The last state.

    Raises:
        WaitTimeout: The last probe raised: what answered before and does not now is not judged by what it
            said then.
    """
    last: list[State] = []

    def look() -> State:
        last.clear()
        last.append(probe())
        return last[0]

    try:
        state: State = wait(what, look, **options)
        return state
    except WaitTimeout:
        if not last:
            raise
        return last[0]


def _cause(explain: Callable[[], str]) -> str:
    try:
        return explain()
    except MeshlabError as problem:  # the timeout is the news, not that its cause stays unknown
        return f"its cause is not known: {problem.message}"
