"""What is published in Prefect, kept while its server is slow or away, and published once the server answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.context import SyncClientContext

from meshlab.core.errors import WaitTimeout
from meshlab.core.waiting import Clock, SystemClock, wait

log = logging.getLogger(__name__)
ANSWER = 5.0  # seconds in which a server that is well answers; Prefect's own client would ask for a minute
PAUSE = 10.0  # seconds for which a server that did not answer is not asked again
DEADLINE = 30.0  # seconds that the end of a run waits for a server to take what it has not taken yet


@dataclass(frozen=True)
class Unpublished:
    """An artifact that Prefect's server has not taken, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class _Kept:
    publish: Callable[[], Any]
    reason: str


class Outbox:
    """Artifacts on their way to Prefect's server. Safe for threads.

    An artifact that the server does not take is kept, the newest of each key, and tried again before the next one is
    published. `flush` is the last try.
    """

    def __init__(self, reach: Callable[[], str] | None = None, *, clock: Clock | None = None) -> None:
        """Make an empty one.

        Args:
            reach: Returns why the server can't be reached, "" where it can; asks Prefect's own where not given.
            clock: What waits; the system's where not given.
        """
        self._reach, self._clock = reach or server_unreachable, clock or SystemClock()
        self._lock = threading.RLock()
        self._kept: dict[str, _Kept] = {}
        self._refused: list[Unpublished] = []
        self._why, self._ask_again = "", 0.0

    def publish(self, key: str, publish: Callable[[], Any], *, keep: bool = True) -> bool:
        """Publish an artifact, and before it those that were kept.

        Args:
            key: The artifact's key.
            publish: Creates it. What it raises tells whether another try may help.
            keep: Whether it is tried again later; progress, which the next report replaces, is not.

        Returns:
            False where it is to be tried again.
        """
        with self._lock:
            self._kept.pop(key, None)
            why = self._unreachable() or self._try_kept() or self._attempt(key, publish)
            if why and keep:
                self._kept[key] = _Kept(publish, why)
                log.warning("artifact %s is kept until it can be published: %s", key, why)
            return not why

    def flush(self, *, deadline: float = DEADLINE) -> tuple[Unpublished, ...]:
        """Publish all that was kept, waiting for a server that does not answer.

        Args:
            deadline: Seconds that the wait may take.

        Returns:
            What the server never took, with the reasons; the outbox is empty then.
        """
        with self._lock:
            try:
                wait(
                    "Prefect's server to take the artifacts that are left",
                    self._try_again,
                    ready=lambda why: not why,
                    describe=str,
                    timeout=deadline,
                    delay=1.0,
                    clock=self._clock,
                )
            except WaitTimeout:
                log.debug("given up after %g s", deadline)
            lost = [*self._refused, *(Unpublished(key, each.reason) for key, each in self._kept.items())]
            self._kept.clear()
            self._refused.clear()
            return tuple(lost)

    def _try_again(self) -> str:
        self._ask_again = 0.0
        return self._unreachable() or self._try_kept()

    def _unreachable(self) -> str:
        """Why the server can't be reached, asked once per `PAUSE` while it can't."""
        if self._clock.now() >= self._ask_again:
            before, self._why = self._why, self._reach()
            if self._why:
                self._ask_again = self._clock.now() + PAUSE
            if bool(before) != bool(self._why):
                log.warning(self._why or "Prefect's server answers again")
        return self._why

    def _try_kept(self) -> str:
        """Publish what was kept, oldest first; returns why the first that failed did."""
        for key, each in tuple(self._kept.items()):
            why = self._attempt(key, each.publish)
            if why:
                self._kept[key] = _Kept(each.publish, why)
                return why
            del self._kept[key]
            log.info("artifact %s is published now", key)
        return ""

    def _attempt(self, key: str, publish: Callable[[], Any]) -> str:
        """Publish once; returns why it is worth another try, "" where it was taken, or refused for good."""
        try:
            publish()
        except Exception as problem:  # noqa: BLE001 - whatever the server says, the lab's own result stands
            why = str(problem) or type(problem).__name__
            if _may_pass(problem):
                self._ask_again = 0.0  # it may have gone just now: it is asked before the next one
                return why
            log.warning("artifact %s was refused: %s", key, why)
            self._refused.append(Unpublished(key, why))
        return ""


def _may_pass(problem: Exception) -> bool:
    """Whether the same request may be taken later: the server was away, or too busy."""
    if isinstance(problem, httpx.HTTPStatusError):
        return problem.response.status_code >= 500 or problem.response.status_code == 429
    return isinstance(problem, httpx.TransportError)


def server_unreachable() -> str:
    """Return why Prefect's server does not answer, "" where it does or where there is none."""
    context = SyncClientContext.get()
    address = str(context.client.api_url).rstrip("/") if context is not None else ""
    if not address.startswith("http"):
        return ""
    try:
        httpx.get(f"{address}/health", timeout=ANSWER)
    except httpx.HTTPError as problem:
        return f"Prefect's server at {address} does not answer ({problem})"
    return ""
