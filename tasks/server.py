"""Prefect's server, which may go away in the middle of a run: how it is noticed, and that nothing then waits for it."""

from __future__ import annotations

import copy
import functools
import logging
import threading
import time
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import Task
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import SyncClientContext
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.settings import get_current_settings

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

ANSWER = 5.0  # seconds in which a server that is well says so
REMEMBERED = 30.0  # seconds for which one that did not is not asked again


def server_gone() -> str:
    """Why Prefect's server does not answer, "" where it does or where there is none.

    Asked once and briefly, where Prefect's client would ask for a minute; costs milliseconds when all is well. From
    then on the client tries nothing twice, until the server answers again: the end of a run does not wait for it.
    """
    context = SyncClientContext.get()
    address = str(context.client.api_url) if context is not None else ""
    return _watch_of(address).ask() if address.startswith("http") else ""


class _Watch:
    """Whether the server at an address is gone. Safe for threads."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._why, self._asked = "", 0.0
        # No connection is kept, it could be stale. The client is: its TLS context costs more than the question.
        self._client = httpx.Client(timeout=ANSWER, limits=httpx.Limits(max_keepalive_connections=0))
        self._retries = get_current_settings().client.max_retries

    def ask(self) -> str:
        with self._lock:
            if not self._why or time.monotonic() - self._asked >= REMEMBERED:
                before, self._why, self._asked = self._why, self._look(), time.monotonic()
                if bool(before) != bool(self._why):
                    log.warning(self._why or f"Prefect's server at {self._address} answers again")
                    get_current_settings().client.max_retries = 0 if self._why else self._retries
            return self._why

    def _look(self) -> str:
        try:
            self._client.get(f"{self._address.rstrip('/')}/health")
        except httpx.HTTPError as problem:
            return f"Prefect's server at {self._address} does not answer ({problem})"
        return ""


_watch_of = functools.lru_cache(maxsize=4)(_Watch)


class LabTask(Task[P, R]):
    """A task that runs without its tags when Prefect's server is gone.

    Prefect asks its server for the concurrency slots of the tags before each run of a task that has some, and waits
    for the answer for good. What is left to do then, above all the teardown, must not wait.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return Task.__call__(self.as_can_be(), *args, **kwargs)
        except ConcurrencySlotAcquisitionError:  # gone since it was asked; the function has not been called
            if not server_gone():
                raise
            return Task.__call__(self.as_can_be(), *args, **kwargs)

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Submit it; again, without tags, where the server went away just when it was asked for their slots."""
        first = Task.submit(self.as_can_be(), *args, **kwargs)
        if not self.tags or not isinstance(first, PrefectConcurrentFuture):
            return first
        outcome: Future[Any] = Future()
        context = copy_context()

        def hand_on(future: PrefectFuture[Any]) -> None:
            try:
                future.wait()
            except BaseException as problem:  # noqa: BLE001 - handed to whoever waits
                outcome.set_exception(problem)
            else:
                outcome.set_result(future.state)

        def ended(future: PrefectFuture[Any]) -> None:
            try:
                future.wait()
            except ConcurrencySlotAcquisitionError:  # the function has not been called
                if context.run(server_gone):
                    context.run(Task.submit, self.as_can_be(plain=True), *args, **kwargs).add_done_callback(
                        hand_on
                    )
                    return
            except BaseException as problem:  # noqa: BLE001 - handed on below
                log.debug("%s ended with %s", self.name, type(problem).__name__)
            hand_on(future)

        first.add_done_callback(ended)
        return PrefectConcurrentFuture(first.task_run_id, outcome)

    def as_can_be(self, *, plain: bool = False) -> LabTask[P, R]:
        """The task itself, or the same one without tags: where the server is gone, or with `plain`."""
        if not plain and (not self.tags or not server_gone()):
            return self
        bare = copy.copy(self)
        bare.tags = set()
        return bare
