"""How a run ends its steps in other threads: they are told to stop, and waited for.

Every step runs within `track`. After `cancel` the waits and commands of running steps are cut short (`meshlab.core.waiting`,
`meshlab.core.process`), and no other step begins, except in the context that called `cancel`: that is the teardown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from meshlab.core.errors import MeshlabError
from meshlab.core.registry import instance

log = logging.getLogger(__name__)
STOPPED_WITHIN = 60.0  # seconds: a request to the API server has a deadline of its own below this
REMEDY = "look at what ended the run"
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)
_leaving: ContextVar[str] = ContextVar("leaving", default="")


class _Steps:
    """The steps of one run that are running."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.changed = threading.Condition()
        self.names: list[str] = []


def stopping() -> threading.Event | None:
    """Return the event that tells the current step to stop; None outside of steps, and in a teardown."""
    return _stop.get()


@contextmanager
def cleaning() -> Iterator[None]:
    """Cut nothing short while the block runs: a stopped step ends its own work in it."""
    token = _stop.set(None)
    try:
        yield
    finally:
        _stop.reset(token)


@contextmanager
def track(run_id: str, name: str) -> Iterator[None]:
    """Count a step as running, while the block runs.

    Args:
        run_id: The run that it belongs to.
        name: The step's name.

    Raises:
        MeshlabError: The run is being ended, and nothing new begins.
    """
    if _leaving.get() == run_id:
        yield
        return
    steps = instance(_Steps, run_id)
    with steps.changed:
        if steps.over.is_set():
            raise MeshlabError(f"{name} was not started, because the run is ending", remedy=REMEDY)
        steps.names.append(name)
    token = _stop.set(steps.over)
    try:
        yield
    finally:
        _stop.reset(token)
        with steps.changed:
            steps.names.remove(name)
            steps.changed.notify_all()


def cancel(run_id: str, *, timeout: float = STOPPED_WITHIN) -> tuple[str, ...]:
    """Stop the run's steps and wait for them.

    Call it outside of any step. Steps that begin afterwards in the caller's context are the teardown's, and
    go on.

    Args:
        run_id: The run.
        timeout: Seconds to wait.

    Returns:
        The names of the steps that go on all the same.
    """
    _leaving.set(run_id)
    steps = instance(_Steps, run_id)
    with steps.changed:
        steps.over.set()
        steps.changed.wait_for(lambda: not steps.names, timeout=timeout)
        left = tuple(steps.names)
    if left:
        log.warning("the teardown begins while steps still go on: %s", ", ".join(left))
    return left
