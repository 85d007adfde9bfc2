"""Signals: raised where a `finally` can clean up, noted where it can't, logged during a teardown, or queued.

An exception that a handler raises can be lost: what is called from compiled code, a `__del__` or a library's own
`except` may swallow it or put another in its place. So a signal is noted before it is raised, and stays unanswered until the
run that it ends says so (`answer_signals`); whoever begins something new asks first (`raise_unanswered`).

A handler never sets a `threading.Event`, or takes another lock: it runs in the main thread, and where that thread holds
the lock at this moment (as it does for an instant in each `Event.wait`), it waits for itself for ever.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from meshlab.core.errors import Interrupted

log = logging.getLogger(__name__)
ENDING = (signal.SIGINT, signal.SIGTERM)
_unanswered: list[int] = []  # signals of this process that came, and that nothing has ended for yet


def signals_raise() -> None:
    """Turn SIGINT and SIGTERM into Interrupted in the main thread, so that every `finally` runs."""

    def on_signal(signum: int, frame: FrameType | None) -> None:
        _unanswered.append(signum)
        raise Interrupted(signum)

    # A background job of a non-interactive shell inherits SIGINT ignored; we want it all the same.
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    raise_unanswered()


def signals_note() -> None:
    """From here until `signals_raise` a signal is only noted: no place where it is raised would undo what is done."""

    def on_signal(signum: int, frame: FrameType | None) -> None:
        _unanswered.append(signum)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)


def unanswered_signal() -> int | None:
    """Return the first signal that came and for which nothing has ended yet; None where there is none."""
    return _unanswered[0] if _unanswered else None


def raise_unanswered() -> None:
    """Raise Interrupted where a signal came whose exception was lost on its way, or was never raised."""
    if (signum := unanswered_signal()) is not None:
        raise Interrupted(signum)


def answer_signals() -> None:
    """Say that what the signals asked for is under way: the run ends, and its removal may begin new steps."""
    _unanswered.clear()


@contextmanager
def signals_wait(log_info: Callable[[str], None] = log.warning) -> Iterator[None]:
    """Let a teardown finish: signals are only logged while the block runs.

    No effect off the main thread.
    """

    def on_signal(signum: int, frame: FrameType | None) -> None:
        log_info(
            f"signal {signum}: the teardown goes on; its rest: `make down`, in a cloud `python -m flows.teardown`"
        )

    before = {}
    try:
        for signum in ENDING:
            before[signum] = signal.signal(signum, on_signal)
    except ValueError:
        pass  # not the main thread: signals don't come here
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def signals_queue(*signums: int) -> SimpleQueue[int]:
    """Put signals into a queue as they come; `SimpleQueue.put` is the one that a handler may call at any moment.

    Args:
        signums: The signals.

    Returns:
        The queue of their numbers.
    """
    queue: SimpleQueue[int] = SimpleQueue()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        queue.put(signum)

    for signum in signums:
        signal.signal(signum, on_signal)
    return queue


def signals_set(stop: threading.Event) -> list[int]:
    """Set an event when SIGINT or SIGTERM comes, from a thread of its own.

    Args:
        stop: The event.

    Returns:
        The numbers of the signals that came; it grows.
    """
    queue, received = signals_queue(*ENDING), []

    def hand_on() -> None:
        while True:
            received.append(queue.get())
            stop.set()

    threading.Thread(target=hand_on, name="signals", daemon=True).start()
    return received


def signal_of(problem: BaseException | None) -> int | None:
    """Return the signal behind an exception, or behind what it was raised in place of; None where there is none.

    Args:
        problem: Our `Interrupted`, an exception that names its signal (Prefect's TerminationSignal), a plain
            KeyboardInterrupt, or an exception that was raised while one of these was handled: Prefect tells its
            server of a task that was cut off, and where the server does not answer that failure takes its place.

    Returns:
        2 (SIGINT), 15 (SIGTERM) or None.
    """
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        if isinstance(problem, Interrupted):
            return problem.signum
        if isinstance(problem, KeyboardInterrupt):
            return int(signal.SIGINT)
        named = getattr(problem, "signal", None)
        if named is not None and not isinstance(problem, Exception):
            return int(named)
        problem = problem.__cause__ or problem.__context__
    return None
