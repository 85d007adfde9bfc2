"""Making, adopting and deleting a cluster, and following what goes on with it. The API has no future to wait on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from google.cloud.container_v1.types import Cluster, Operation

from meshlab.clusters.gke.api import GkeApi
from meshlab.clusters.gke.api_errors import of_operation
from meshlab.clusters.gke.names import RUN, is_ours
from meshlab.clusters.gke.record import ClusterRecord
from meshlab.clusters.gke.request import Version, cluster_of, differences, resolve, size_of
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import (
    CloudError,
    ClusterBusyError,
    ClusterError,
    InputError,
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
WELL = (Cluster.Status.RUNNING, Cluster.Status.RECONCILING)
CREATE = "create the cluster"
CLEAN_UP = 300.0  # seconds at least, for the deletion of what was half made


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
        """Ask until there is an answer. timeout: seconds, when not the follower's own. Raises WaitTimeout."""
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


def adoptable(
    api: GkeApi, follower: Follower, settings: GkeSettings, record: ClusterRecord
) -> Cluster | None:
    """The running cluster of this name, where it is ours and free; None where one must be made.

    One of ours that is on its way is awaited, one that is broken is deleted. Raises CloudError (exists) for one that
    is not ours or is another kind than asked for, ClusterBusyError for one that another run of this machine holds.
    """
    found = api.cluster()
    if found is None:
        return None
    if not is_ours(found.resource_labels):
        raise foreign(found)
    holder = record.held_by(found)
    if holder is not None:
        raise ClusterBusyError(
            f"cluster {found.name} is held by run {holder}, which goes on",
            remedy="wait until it has ended, or use another name: --set gke.name=NAME",
        )
    follower.quiet()
    found = api.cluster()
    if found is not None and found.status not in WELL:
        log.info(
            "cluster %s of run %s is %s: it is made anew",
            found.name,
            found.resource_labels[RUN],
            found.status.name,
        )
        deleted(api, follower, "delete what is broken")
        found = None
    if found is not None and (wrong := differences(found, settings)):
        raise CloudError(
            f"cluster {found.name} of run {found.resource_labels[RUN]} is there, with {' and '.join(wrong)}",
            kind="exists",
            remedy=f"ask for what is there, or remove it: python -m flows.teardown --run {found.resource_labels[RUN]}",
        )
    return found


def labelled(api: GkeApi, follower: Follower, adopted: Cluster, labels: Mapping[str, str]) -> Cluster:
    """Label a cluster that is adopted. A lost answer is looked for, and a fresh fingerprint is asked for.

    Args:
        api: The API.
        follower: Waits.
        adopted: The cluster, as it was when it was chosen.
        labels: The labels of the run that adopts it.

    Returns:
        The cluster with these labels.

    Raises:
        ClusterBusyError: Another run has adopted it meanwhile.
        CloudError: It has gone, or the labels are refused.
    """
    known = (adopted.resource_labels.get(RUN), labels[RUN])
    lost: list[CloudError] = []

    def ask() -> Operation | Cluster | None:
        found = api.cluster()
        if found is None:
            remedy = "run again: it is made anew"
            raise CloudError(f"cluster {adopted.name} has gone meanwhile", kind="not-found", remedy=remedy)
        if found.resource_labels.get(RUN) not in known:
            raise ClusterBusyError(
                f"cluster {found.name} was adopted by run {found.resource_labels.get(RUN)} meanwhile",
                remedy="wait until it has ended, or use another name: --set gke.name=NAME",
            )
        if labels.items() <= dict(found.resource_labels).items():
            return found
        try:
            return api.set_labels(found, labels)
        except CloudError as problem:
            if problem.kind not in ("unavailable", "precondition"):
                raise
            lost.append(problem)
            return None

    try:
        asked = follower.again("the API to take the labels", ask, timeout=api.backoff.deadline)
    except WaitTimeout:
        if not lost:
            raise
        raise lost[-1] from None
    if isinstance(asked, Operation):
        follower.finish(asked, "label the cluster")
        return labelled(api, follower, adopted, labels)  # as the API has it now
    assert isinstance(asked, Cluster)
    return asked


def foreign(found: Cluster) -> CloudError:
    """Why a cluster that is not ours is left alone."""
    return CloudError(
        f"there is a cluster {found.name} in {found.location} that this project did not make",
        kind="exists",
        remedy="choose another name: --set gke.name=NAME; or use it as it is: --cluster existing --context NAME",
    )


def make(
    api: GkeApi,
    follower: Follower,
    settings: GkeSettings,
    labels: Mapping[str, str],
    progress: Progress,
    record: ClusterRecord,
) -> Cluster:
    """Create the cluster and wait until it runs. What is half made when that fails is deleted; then the error is raised.

    Args:
        api: The API.
        follower: Waits.
        settings: What is asked for.
        labels: The labels that make it ours.
        progress: Told how far it came.
        record: What the run writes down: that it asks, and the id as soon as the API knows it.

    Returns:
        The cluster, running.

    Raises:
        InputError: There is no such version.
        CloudError: It was refused, or ended badly.
        WaitTimeout: It does not run at the deadline.
    """
    version = resolve(settings.version, api.server_config(), settings.zone)
    if not isinstance(version, Version):
        raise InputError([version])
    progress(Update(CREATE, detail=f"Kubernetes {version.kubernetes}, {size_of(settings)}"))
    try:
        record.asked()
        operation = _asked(api, follower, cluster_of(settings, version, labels), labels)
        if (there := api.cluster()) is not None:
            record.made(there)
        if operation is not None:
            follower.finish(operation, CREATE)
        cluster = follower.until(f"cluster {settings.name} to run", _settled)
    except MeshlabError as problem:
        _clean_up(api, follower, labels, problem)
        raise
    if cluster is None or cluster.status == Cluster.Status.ERROR:
        wrong = CloudError(
            f"can't {CREATE}: it {'vanished' if cluster is None else 'ended in ERROR: ' + cluster.status_message}",
            kind="failed",
            remedy="run again; if it happens twice, look at the project's logs",
        )
        _clean_up(api, follower, labels, wrong)
        raise wrong
    return cluster


def _settled(found: Cluster | None) -> bool:
    return found is None or found.status in (*WELL, Cluster.Status.ERROR)


def _asked(api: GkeApi, follower: Follower, wanted: Cluster, labels: Mapping[str, str]) -> Operation | None:
    """Ask for the cluster until the request has arrived, once. None: it is there, and nothing goes on any more.

    Without an answer the request may have arrived or not, so before it is made again the cluster is looked for.
    """

    lost: list[CloudError] = []

    def ask() -> Operation | str | None:
        try:
            return api.create(wanted)
        except CloudError as problem:
            if problem.kind not in ("unavailable", "exists"):
                raise
            lost.append(problem)  # before the look, which may fail, too
            found = api.cluster()
            if found is None and problem.kind == "unavailable":
                log.info("the request was lost: %s", problem.message)
                return None
            if found is None or found.resource_labels.get(RUN) != labels[RUN]:
                raise problem if found is None else foreign(found) from problem
            return next(iter(api.running_operations()), "there")

    try:
        asked = follower.again("the API to take the request", ask, timeout=api.backoff.deadline)
    except WaitTimeout:
        if not lost:
            raise
        raise lost[-1] from None  # the same news, classed, with what the API said
    return asked if isinstance(asked, Operation) else None


def _clean_up(api: GkeApi, follower: Follower, labels: Mapping[str, str], problem: MeshlabError) -> None:
    """Delete what a failed creation left, where it is this run's. A failure of that is told with the first one."""
    try:
        found = api.cluster()
        if found is not None and found.resource_labels.get(RUN) == labels[RUN]:
            follower.extend(min(CLEAN_UP, follower.timeout))
            deleted(api, follower, "delete what was half made")
            problem.message += "; what was half made is deleted"
    except MeshlabError as second:
        log.warning("what is half made could not be deleted: %s", second.message)
        problem.message += f"; what is half made could NOT be deleted: {second.message}"
        problem.remedy += f"; then remove it: python -m flows.teardown --run {labels[RUN]}"
    problem.args = (problem.message,)
