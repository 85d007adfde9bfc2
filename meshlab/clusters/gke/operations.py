"""Following what goes on with a cluster, to its deletion. The API has no future to wait on: operations are polled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from google.cloud.container_v1.types import Cluster, Operation

from meshlab.clusters.gke.api import GkeApi
from meshlab.clusters.gke.api_errors import of_operation
from meshlab.core.errors import (
    CloudError,
    ClusterError,
    MeshlabError,
    WaitTimeout,
)
from meshlab.core.progress import Progress, Update
from meshlab.core.waiting import Clock, SystemClock, wait

Answer = TypeVar("Answer")
DONE = Operation.Status.DONE
# What gcloud says for the parts of a creation, by the names of their metrics.
PHASES = {
    "CLUSTER_CONFIGURING": "being configured",
    "CLUSTER_DEPLOYING": "being deployed",
    "CLUSTER_HEALTHCHECKING": "being health-checked",
}
log = logging.getLogger(__name__)


class Follower:
    """Waits for what goes on with one cluster, until one deadline for all of it.

    Attributes:
        run_id: The run that is told how to remove what stays.
    """

    def __init__(
        self,
        api: GkeApi,
        *,
        poll: float,
        timeout: float,
        progress: Progress,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
        run_id: str = "",
    ) -> None:
        """Begin to follow.

        Args:
            api: The API.
            poll: Seconds between two looks.
            timeout: Seconds until the deadline of all waits.
            progress: Told how far it came.
            stop: Ends a wait that nobody needs any more.
            clock: Of the waits.
            run_id: The run that is told how to remove what stays.
        """
        self.api = api
        self.run_id = run_id or "RUN_ID"
        self._poll, self._progress, self._stop = poll, progress, stop
        self._clock = clock or SystemClock(stop)
        self.timeout = timeout
        self._deadline = self._clock.now() + timeout

    @property
    def left(self) -> float:
        """Seconds until the deadline, 0 past it."""
        return max(0.0, self._deadline - self._clock.now())

    @property
    def remedy(self) -> str:
        """What to do about a cluster that is not as it should be at the deadline."""
        project = self.api.place.project
        return (
            "look at the cluster in the console; "
            f"python -m flows.teardown --run {self.run_id} --project {project} removes it"
        )

    def extend(self, seconds: float) -> None:
        """Put the deadline off, so that so many seconds are left: a clean-up has a time of its own."""
        self._deadline = max(self._deadline, self._clock.now() + seconds)

    def finish(self, operation: Operation, doing: str) -> None:
        """Wait until an operation is done.

        Args:
            operation: The operation.
            doing: What it does, as in "create the cluster".

        Raises:
            CloudError: It failed.
            WaitTimeout: It is not done at the deadline.
        """

        def look() -> Operation | None:
            found = self.api.operation(operation.name)
            self._tell(found, doing)
            return found

        last = wait(
            f"the API to {doing}",
            look,
            ready=lambda found: found is None or found.status == DONE,
            describe=describe,
            error=lambda found: self._stopped(),
            timeout=self.left,
            delay=self._poll,
            clock=self._clock,
            remedy=self.remedy,
        )
        if last is not None and failed(last):
            raise of_operation(doing, reason(last), " ".join(_codes(last)))

    def quiet(self, doing: str = "let the running operation end") -> None:
        """Wait until nothing goes on with the cluster. How that ended does not matter."""
        wait(
            f"the API to {doing}",
            self.api.running_operations,
            ready=lambda found: not found,
            describe=lambda found: "; ".join(map(describe, found)) or "nothing goes on",
            error=lambda found: self._stopped(),
            timeout=self.left,
            delay=self._poll,
            clock=self._clock,
            remedy=self.remedy,
            on_change=lambda text: self._progress(Update(doing, detail=text)),
        )

    def until(self, what: str, ready: Callable[[Cluster | None], bool]) -> Cluster | None:
        """Wait until the cluster (None: it is not there) is as `ready` wants it."""
        return wait(
            what,
            self.api.cluster,
            ready=ready,
            describe=lambda found: found.status.name if found is not None else "not there",
            error=lambda found: self._stopped(),
            timeout=self.left,
            delay=self._poll,
            clock=self._clock,
            on_change=lambda text: self._progress(Update(what, detail=text)),
        )

    def again(self, what: str, ask: Callable[[], Answer | None], *, timeout: float | None = None) -> Answer:
        """Ask until there is an answer.

        Args:
            what: What is awaited, for messages.
            ask: Asks; None is no answer yet.
            timeout: Seconds, when not the follower's own.

        Returns:
            The answer.

        Raises:
            WaitTimeout: There is none at the deadline.
        """
        answer = wait(
            what,
            ask,
            ready=lambda found: found is not None,
            describe=lambda found: "not yet" if found is None else "accepted",
            error=lambda found: self._stopped(),
            timeout=self.left if timeout is None else min(timeout, self.left),
            delay=self._poll,
            clock=self._clock,
        )
        assert answer is not None
        return answer

    def _tell(self, operation: Operation | None, doing: str) -> None:
        if operation is not None:
            done, total = parts(operation)
            self._progress(Update(doing, done, total, describe(operation)))

    def _stopped(self) -> MeshlabError | None:
        if self._stop is not None and self._stop.is_set():
            return ClusterError("the wait was stopped", remedy="the teardown removes what was made")
        return None


def describe(operation: Operation | None) -> str:
    """An operation in one line, as gcloud shows it while it waits."""
    if operation is None:
        return "the API has forgotten the operation"
    metrics = {metric.name: metric.int_value for metric in operation.progress.metrics}
    for name, said in reversed(PHASES.items()):
        if metrics.get(f"{name}_TOTAL") and metrics.get(name):
            return f"{operation.status.name}: {said} ({metrics[name]} of {metrics[name + '_TOTAL']})"
    return f"{operation.status.name}: {operation.detail}" if operation.detail else f"{operation.status.name}"


def parts(operation: Operation) -> tuple[int, int]:
    """How much of an operation is done, of how much, by all of its metrics together; (0, 0) where it does not say."""
    metrics = {metric.name: metric.int_value for metric in operation.progress.metrics}
    totals = {name: value for name, value in metrics.items() if name.endswith("_TOTAL")}
    done = sum(metrics.get(name.removesuffix("_TOTAL"), 0) for name in totals)
    return min(done, sum(totals.values())), sum(totals.values())


def failed(operation: Operation) -> bool:
    """Whether an operation that is done ended badly. The message's truth says nothing: an empty error is true too."""
    return "error" in operation and operation.error.code != 0


def reason(operation: Operation) -> str:
    """Why an operation failed."""
    return operation.error.message or operation.status_message or operation.detail


def _codes(operation: Operation) -> list[str]:
    return [condition.code.name for condition in operation.cluster_conditions]


def deleted(api: GkeApi, follower: Follower, doing: str) -> bool:
    """Delete the cluster, whatever goes on with it.

    At the deadline deletion is asked for all the same, and a refusal is told.

    Args:
        api: The API.
        follower: Waits.
        doing: What is being done, for messages.

    Returns:
        False when there was none.

    Raises:
        CloudError: It is refused.
        WaitTimeout: It goes on past the deadline.
    """
    refused: list[CloudError] = []

    def ask() -> Operation | str | None:
        try:
            follower.quiet()
        except WaitTimeout as endless:
            log.warning("%s; deletion is asked for all the same", endless.message)
        try:
            return api.delete() or "gone"
        except CloudError as problem:
            if problem.kind != "precondition":
                raise
            refused.append(problem)
            return None  # something goes on

    try:
        asked = follower.again("the API to accept the deletion", ask)
    except WaitTimeout:
        if not refused:
            raise
        raise CloudError(refused[-1].message, kind="precondition", remedy=follower.remedy) from None
    if isinstance(asked, Operation):
        follower.finish(asked, doing)
    follower.until(f"cluster {api.place.name} to be gone", lambda found: found is None)
    return isinstance(asked, Operation)
