"""Following what goes on with a cluster. The API has no future to wait on: operations are polled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from google.cloud.container_v1.types import Cluster, Operation

from meshlab.clusters.gke.api import GkeApi
from meshlab.clusters.gke.api_errors import of_operation
from meshlab.core.errors import CloudError, ClusterError, MeshlabError
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


class Follower:
    """Waits for operations of one cluster. poll, timeout: seconds. stop: ends a wait that nobody needs any more."""

    def __init__(
        self,
        api: GkeApi,
        *,
        poll: float,
        timeout: float,
        progress: Progress,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.api = api
        self._poll, self._timeout, self._progress, self._stop = poll, timeout, progress, stop
        self._clock = clock or SystemClock(stop)

    def finish(self, operation: Operation, doing: str) -> None:
        """Wait until an operation is done. Raises CloudError for one that failed, WaitTimeout."""

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
            timeout=self._timeout,
            delay=self._poll,
            clock=self._clock,
            remedy="look at the cluster in the console; python -m flows.teardown --run RUN_ID removes it",
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
            timeout=self._timeout,
            delay=self._poll,
            clock=self._clock,
            remedy="look at the cluster's operations in the console",
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
            timeout=self._timeout,
            delay=self._poll,
            clock=self._clock,
            on_change=lambda text: self._progress(Update(what, detail=text)),
        )

    def again(self, what: str, ask: Callable[[], Answer | None], *, timeout: float | None = None) -> Answer:
        """Ask until there is an answer. timeout: seconds, when not the follower's own. Raises WaitTimeout."""
        answer = wait(
            what,
            ask,
            ready=lambda found: found is not None,
            describe=lambda found: "not yet" if found is None else "accepted",
            error=lambda found: self._stopped(),
            timeout=self._timeout if timeout is None else timeout,
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
    return operation.status.name + (f": {operation.detail}" if operation.detail else "")


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
    """Delete the cluster, whatever goes on with it; False when there was none. Raises CloudError, WaitTimeout."""

    def ask() -> Operation | str | None:
        follower.quiet()
        try:
            return api.delete() or "gone"
        except CloudError as problem:
            if problem.kind != "precondition":
                raise
            return None  # something began between the two calls

    asked = follower.again("the API to accept the deletion", ask)
    if isinstance(asked, Operation):
        follower.finish(asked, doing)
    follower.until(f"cluster {api.place.name} to be gone", lambda found: found is None)
    return isinstance(asked, Operation)
