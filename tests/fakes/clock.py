"""A clock that moves only when somebody sleeps on it."""

from __future__ import annotations

from collections.abc import Callable


class FakeClock:
    """Stands in for meshlab.core.waiting.Clock. on_sleep is called with the new time after each sleep."""

    def __init__(self, start: float = 0.0, on_sleep: Callable[[float], None] | None = None) -> None:
        self.time = start
        self.slept: list[float] = []
        self._on_sleep = on_sleep

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        if self._on_sleep:
            self._on_sleep(self.time)
