"""Requests that never pause while the pods that send them are replaced: the next pod begins before the last one ends."""

from __future__ import annotations

import threading

from meshlab.app.budget import Budget, RequestBook, Spent, overspent
from meshlab.app.loop import RequestLoop
from meshlab.app.source import Source
from meshlab.kube.client import Kube

INTERVAL = 0.05  # seconds between the end of a request and the next
REQUEST_TIMEOUT = 5.0  # seconds; a request that takes longer has failed


class Relay:
    """A loop of requests that is handed from pod to pod, with every request in a book.

    Args:
        kube: Client of the cluster.
        url: As the pods ask for it.
        book: Where each request is written down.
        budget: What may fail.
    """

    def __init__(self, kube: Kube, url: str, book: RequestBook, budget: Budget) -> None:
        self._kube, self.url, self._book, self._budget = kube, url, book, budget
        self._loops: list[RequestLoop] = []
        self._written: list[int] = []
        self._lock = threading.Lock()

    def begin(self, source: Source) -> None:
        """Send from this pod, too. Raises KubeError, ExecError or WaitTimeout where it can't."""
        loop = RequestLoop(
            self._kube, source, self.url, interval=INTERVAL, request_timeout=REQUEST_TIMEOUT
        ).start()
        with self._lock:
            self._loops.append(loop)
            self._written.append(0)

    def hand_over(self, source: Source) -> None:
        """Send from this pod, and end the loops of the others, whose requests under way are finished."""
        earlier = list(self._loops)
        self.begin(source)
        for loop in earlier:
            loop.stop_and_drain()

    def look(self) -> Spent:
        """Write down what was sent since the last look; returns all counts."""
        with self._lock:
            for number, loop in enumerate(self._loops):
                records = loop.records()
                self._book.add(records[self._written[number] :])
                self._written[number] = len(records)
            return self._book.spent()

    def trouble(self) -> tuple[str, ...]:
        """Tell in what the budget is broken now, and whether nothing is sent any more; empty while all is well."""
        found = list(overspent(self.look(), self._budget, ended=False))
        if self._loops and not self._loops[-1].running:
            told = "; ".join(self._loops[-1].snapshot().errors) or "it ended by itself"
            found.append(f"the loop of requests is cut off: {told}")
        return tuple(found)

    def end(self) -> tuple[Spent, tuple[str, ...]]:
        """End and drain every loop; returns the counts, and why they may be wrong. May be called twice."""
        for loop in self._loops:
            loop.ask_to_stop()
        errors = [error for loop in self._loops for error in loop.stop_and_drain().errors]
        return self.look(), tuple(errors)
