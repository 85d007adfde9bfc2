"""How long one run waits for what is absent: in full once, and not again for each thing that has had as much time.

What is awaited under one load appears, or does not, for all who look. So a wait that ran out of its time is paid for
by the later ones, and a wait that succeeded by none: a run whose waits succeed is not changed by this.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from meshlab.core.registry import instance
from meshlab.core.waiting import Clock, SystemClock

LEAST = 5.0  # seconds that every wait has: a look, and some more after an answer that was lost
ROUNDING = 1e-3  # seconds


class Patience:
    """The waits of one run, usable by several threads.

    Args:
        clock: Of the waits; the real one where not given.

    Attributes:
        clock: To be handed to the waits.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._spent, self._until = 0.0, float("-inf")
        self._firsts: dict[str, float] = {}

    @contextmanager
    def awaiting(
        self, seconds: float, *, least: float = LEAST, since: float | None = None
    ) -> Iterator[float]:
        """Give a wait its time, and note whether it used all of it.

        Args:
            seconds: The time that it has in a run where nothing is absent.
            least: The time that it has in any case, if `seconds` is not less.
            since: When what is awaited could begin to appear, by the run's clock; it has `seconds` from then on,
                whatever else is absent. None: when the run's first wait began.

        Yields:
            Seconds.
        """
        begin = self._clock.now()
        with self._lock:
            left = seconds - self._spent
        if since is not None:
            left = max(left, seconds - (begin - since))
        given = min(max(left, least), seconds)
        try:
            yield given
        finally:
            end = self._clock.now()
            if end - begin >= given - ROUNDING:
                with self._lock:  # waits side by side are paid for once
                    self._spent += max(0.0, end - max(begin, self._until))
                    self._until = max(self._until, end)

    def first(self, what: str) -> float:
        """Return when this was first asked for, by the run's clock: from then on it was awaited.

        Args:
            what: A name.
        """
        with self._lock:
            return self._firsts.setdefault(what, self._clock.now())


def patience_of(run_id: str) -> Patience:
    """Return the one of a run, in this process.

    Args:
        run_id: The run.
    """
    return instance(Patience, run_id)
