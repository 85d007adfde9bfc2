"""Making a GKE cluster, or finding one of ours to adopt. A lost answer and a half-made cluster are the usual cases."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from google.cloud.container_v1.types import Cluster, Operation

from meshlab.clusters.gke.api import GkeApi
from meshlab.clusters.gke.api_errors import of_operation
from meshlab.clusters.gke.comparison import AUTOPILOT, differences
from meshlab.clusters.gke.names import RUN, is_ours
from meshlab.clusters.gke.operations import Follower, deleted
from meshlab.clusters.gke.record import ClusterRecord
from meshlab.clusters.gke.request import Version, cluster_of, resolve, size_of
from meshlab.clusters.gke.stays import hourly, named
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import (
    CloudError,
    ClusterBusyError,
    InputError,
    MeshlabError,
    WaitTimeout,
)
from meshlab.core.progress import Progress, Update

log = logging.getLogger(__name__)

WELL = (Cluster.Status.RUNNING, Cluster.Status.RECONCILING)
CREATE = "create the cluster"
CLEAN_UP = 300.0  # seconds at least, for the deletion of what was half made


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
    what = f"there is a cluster {found.name} in {found.location} that this project did not make"
    remedy = "choose another name: --set gke.name=NAME"
    if found.autopilot.enabled:
        what += f"; it is on Autopilot, and {AUTOPILOT}"
    else:
        remedy += "; or use it as it is: --cluster existing --context NAME"
    return CloudError(what, kind="exists", remedy=remedy)


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
        _clean_up(api, follower, settings, labels, problem)
        raise
    if cluster is None or cluster.status == Cluster.Status.ERROR:
        wrong = _of_bad_end(cluster)
        _clean_up(api, follower, settings, labels, wrong)
        raise wrong
    return cluster


def _of_bad_end(cluster: Cluster | None) -> CloudError:
    """The error behind a creation that ended badly though its operation has no error: the cluster itself says why."""
    said = "it vanished" if cluster is None else f"it ended in ERROR: {cluster.status_message}"
    codes = " ".join(each.code.name for each in cluster.conditions) if cluster is not None else ""
    found = of_operation(CREATE, said, codes)
    if found.kind == "failed":
        found.remedy = "run again; if it happens twice, look at the project's logs"
    return found


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
            if problem.kind == "unavailable":
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


def _clean_up(
    api: GkeApi, follower: Follower, settings: GkeSettings, labels: Mapping[str, str], problem: MeshlabError
) -> None:
    """Delete what a failed creation left, where it is this run's. A failure of that is told with the first one."""
    left = api.place.path
    try:
        found = api.cluster()
        if found is not None:
            left = named(api.place, hourly(found, settings))
        if found is not None and found.resource_labels.get(RUN) == labels[RUN]:
            follower.extend(min(CLEAN_UP, follower.timeout))
            deleted(api, follower, "delete what was half made")
            problem.message += "; what was half made is deleted"
    except MeshlabError as second:
        log.warning("what is half made could not be deleted: %s", second.message)
        problem.message += f"; what is half made, {left}, could NOT be deleted: {second.message}"
        problem.remedy += (
            f"; then remove it: python -m flows.teardown --run {labels[RUN]} --project {api.place.project}"
        )
    problem.args = (problem.message,)
