"""A GKE cluster as a provider: up, inventory, collect_logs, down."""

from __future__ import annotations

import getpass
import json
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.clusters.gke import access, names
from meshlab.clusters.gke.api import Backoff, GkeApi, Rest, zones_of
from meshlab.clusters.gke.comparison import departures
from meshlab.clusters.gke.creation import adoptable, labelled, make
from meshlab.clusters.gke.leftovers import balancers, commands, leftovers, remove_billed, with_prices
from meshlab.clusters.gke.operations import Follower, deleted
from meshlab.clusters.gke.record import ClusterRecord
from meshlab.clusters.gke.request import as_text, node_count, status_row
from meshlab.clusters.gke.stays import adopted, hourly, nameless
from meshlab.config.settings import GkeSettings, Machine
from meshlab.core.errors import CloudError, KubeError, MeshlabError
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.kube.client import Kube

log = logging.getLogger(__name__)
ANSWER_TIMEOUT = 300.0  # seconds until the API server of a running cluster must answer
Connect = Callable[[Path, str], Kube]


@dataclass(frozen=True)
class Seams:
    """Where the cloud begins; tests put their own here. connect: a kubeconfig and its context → a client."""

    api: Callable[[], GkeApi]
    rest: Callable[[], Rest]
    connect: Connect = Kube.connect
    clock: Clock | None = None


class GkeCluster:
    """The provider `gke`. run_id: the run that makes, holds and removes the cluster."""

    def __init__(
        self, settings: GkeSettings, machine: Machine, *, run_id: str, seams: Seams | None = None
    ) -> None:
        assert settings.project is not None, "the preflight refuses a configuration without a project"
        self.settings = settings
        self.machine = machine
        self.run_id = run_id
        self.place = names.Place(settings.project, settings.zone, settings.name)
        self.record = ClusterRecord(self.place, machine, run_id)
        self._seams = seams or seams_of(settings)
        self._balancers: set[str] = set()  # uids seen; the ledger has them too, where there is one

    @cached_property
    def api(self) -> GkeApi:
        """The GKE API. Raises CloudError without credentials."""
        return self._seams.api()

    @property
    def kubeconfig(self) -> Path:
        """The run's own kubeconfig, in the state folder, not in the run directory, which readers may share."""
        return self.machine.state / "gke" / (self.run_id or "nobody") / "kubeconfig"

    def up(self, *, progress: Progress = silent, stop: threading.Event | None = None) -> ClusterRef:
        """Make the cluster, or adopt the one of that name that is ours.

        Its kubeconfig is written, and its answer awaited. What is intended is in the ledger and in the
        cluster's labels before and with the first call. A creation that fails is cleaned up.

        Args:
            progress: Told how far it came.
            stop: Ends what waits.

        Returns:
            The cluster, its nodes Ready.

        Raises:
            CloudError: The cloud refuses something, or something ends badly.
            ClusterBusyError: Another run holds it.
            KubeError: It does not answer.
            WaitTimeout: Something is not there at the deadline.
        """
        labels = names.labels(self.run_id, getpass.getuser(), names.expires_in(self.settings.hours_to_live))
        self.record.intend(labels, self.settings)
        follower = self._follower(progress, stop)
        found = adoptable(self.api, follower, self.settings, self.record)
        if found is not None:
            progress(
                Update(
                    "adopt the cluster",
                    1,
                    1,
                    f"{found.name} was made by run {found.resource_labels[names.RUN]}",
                )
            )
            cluster = labelled(self.api, follower, found, labels)
        else:
            cluster = self._make(follower, labels, progress)
        self.record.made(cluster)
        access.write_kubeconfig(cluster, self.settings, self.kubeconfig)
        self._answers(progress)
        return ClusterRef(
            provider="gke",
            name=cluster.name,
            kubeconfig=self.kubeconfig,
            context=access.context_of(self.settings),
            nodes=node_count(cluster),
            endpoint=f"https://{cluster.endpoint}",
            adopted=found is not None,
        )

    def inventory(self) -> Leftovers:
        """What exists of it in the project: the cluster, and what clusters leave behind. Raises CloudError."""
        cluster = self.api.cluster()
        there = (self.place.path,) if cluster is not None and self._is_this_runs(cluster) else ()
        items = {"clusters": there, **leftovers(self._seams.rest(), self.place, self._uids())}
        return Leftovers(
            {**items, "kubeconfigs": (str(self.kubeconfig),) if self.kubeconfig.exists() else ()}
        )

    def status_table(self) -> list[dict[str, str]]:
        """The cluster under the columns of `gcloud container clusters list`; no row when it is not there."""
        cluster = self.api.cluster()
        return [status_row(cluster)] if cluster is not None else []

    def departures(self) -> list[str]:
        """Where the running cluster departs from what was asked for, by its own answer. Raises CloudError."""
        cluster = self.api.cluster()
        return departures(cluster, self.settings) if cluster is not None else []

    def collect_logs(self, directory: Path) -> Sequence[Path]:
        """The cluster's status and its running operations, without keys."""
        directory.mkdir(parents=True, exist_ok=True)
        table, operations = directory / "cluster.txt", directory / "operations.json"
        try:
            text = as_text(self.status_table())
            rows = [
                {
                    "name": each.name,
                    "type": each.operation_type.name,
                    "status": each.status.name,
                    "detail": each.detail,
                }
                for each in self.api.running_operations()
            ]
        except CloudError as problem:  # the other evidence is still wanted
            text, rows = f"{problem}\n", []
        table.write_text(text, encoding="utf-8")
        operations.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        return [table, operations]

    def note_balancers(self, kube: Kube) -> int:
        """Write uid and address of each Service of type LoadBalancer into the ledger; returns how many there are."""
        found = balancers(kube)
        self._balancers |= {each.uid for each in found}
        self.record.balancers_appeared(found)
        return len(found)

    def down(self, *, progress: Progress = silent) -> None:
        """Remove the cluster: what is paid for beside it first, where it answers. Then list what may remain.

        Nothing of another owner is touched. May run twice, or without a cluster. Raises CloudError: `leftovers` names
        what remains and the commands that remove it.
        """
        follower = self._follower(progress, None)
        cluster = self.api.cluster()
        if cluster is not None and self._is_this_runs(cluster):
            self._empty(cluster, progress)
            progress(Update("delete the cluster", detail=self.place.name))
            deleted(self.api, follower, "delete the cluster")
        shutil.rmtree(self.kubeconfig.parent, ignore_errors=True)
        if cluster is not None and not self._is_this_runs(cluster):
            self._stays(cluster)
            return
        progress(Update("look for leftovers", detail="load balancers, firewalls, disks"))
        self._none_left()

    def adopted(self) -> CloudError | None:
        """Why the cluster stays, where another run has adopted it: `down` leaves it to that run, which is named.

        None where the cluster is gone, is this run's, or is nobody's of ours. Raises CloudError.
        """
        cluster = self.api.cluster()
        run_id = self._adopted_by(cluster) if cluster is not None else None
        if cluster is None or run_id is None:
            return None
        return adopted(self.place, run_id, hourly(cluster, self.settings))

    def _adopted_by(self, cluster: Cluster) -> str | None:
        labels = cluster.resource_labels
        ours = names.is_ours(labels) and not self._is_this_runs(cluster)
        return labels[names.RUN] if ours else None

    def _stays(self, cluster: Cluster) -> None:
        """Say of a cluster that is not this run's why it stays; an error where this run made it, or may have made it."""
        adopting_run = self._adopted_by(cluster)
        if not self.record.is_of(cluster):
            log.info("cluster %s is not this run's and stays", self.place.path)
            return
        price = hourly(cluster, self.settings)
        raise adopted(self.place, adopting_run, price) if adopting_run else nameless(self.place, price)

    def _make(self, follower: Follower, labels: dict[str, str], progress: Progress) -> Cluster:
        try:
            return make(self.api, follower, self.settings, labels, progress, self.record)
        except CloudError as problem:
            if problem.kind == "stock-out" and not self.settings.regional:
                problem.remedy = self._other_zones() + problem.remedy
            raise

    def _other_zones(self) -> str:
        """The other zones of the region, as the begin of a remedy; empty where they can't be listed."""
        try:
            others = [
                zone
                for zone in zones_of(self._seams.rest(), self.settings.region)
                if zone != self.settings.zone
            ]
        except CloudError as problem:
            log.info("the other zones are not known: %s", problem.message)
            return ""
        return f"the other zones of {self.settings.region} are {', '.join(others)}; " if others else ""

    def _is_this_runs(self, cluster: Cluster) -> bool:
        """Tell whether the cluster is this run's: by its label, or by the id that the run wrote down, or its description.

        Somebody may have taken the label off; another run's label says that it was adopted. With no run given, any
        cluster of ours is meant.
        """
        labels = cluster.resource_labels
        if names.is_ours(labels):
            return not self.run_id or labels[names.RUN] == names.label_value(self.run_id)
        return self.record.is_surely_of(cluster)

    def _empty(self, cluster: Cluster, progress: Progress) -> None:
        """Remove load balancers and volumes while somebody in the cluster can. It may not answer, and goes all the same."""
        if cluster.status not in (
            Cluster.Status.RUNNING,
            Cluster.Status.RECONCILING,
            Cluster.Status.DEGRADED,
        ):
            return
        try:
            access.write_kubeconfig(cluster, self.settings, self.kubeconfig)
            kube = self._seams.connect(self.kubeconfig, access.context_of(self.settings))
            self.note_balancers(kube)
            left = remove_billed(kube, progress=progress, clock=self._seams.clock)
            if left:
                log.warning("not gone when the cluster was deleted: %s", ", ".join(left))
        except MeshlabError as problem:
            log.warning("the cluster does not answer, and is deleted as it is: %s", problem.message)

    def _none_left(self) -> None:
        found = leftovers(self._seams.rest(), self.place, self._uids())
        if any(found.values()):
            raise CloudError(
                f"cluster {self.place.name} is gone, and this remains and is paid for: {with_prices(found)}",
                kind="leftovers",
                remedy="run the teardown again in some minutes, or remove it: "
                + "; ".join(commands(found, self.place)),
            )

    def _uids(self) -> set[str]:
        """Of every load balancer known: a reaper on another machine has no ledger, and has seen them itself."""
        return self._balancers | {each["uid"] for each in self.record.balancers()}

    def _answers(self, progress: Progress) -> None:
        """Wait until the API server answers with the credentials that all others will use."""
        connect, context = self._seams.connect, access.context_of(self.settings)

        def ask() -> str:
            try:
                return connect(self.kubeconfig, context).server_version()
            except KubeError as problem:
                problem.retryable = problem.retryable or problem.status in (
                    401,
                    403,
                )  # a new cluster's rights spread
                raise

        version = wait(
            "the cluster's API server to answer",
            ask,
            ready=bool,
            timeout=min(ANSWER_TIMEOUT, self.settings.create_timeout),
            clock=self._seams.clock,
            remedy="see whether this machine may reach the endpoint (authorized networks, --set gke.access=dns)",
        )
        progress(Update("the cluster answers", 1, 1, f"Kubernetes {version}"))

    def _follower(self, progress: Progress, stop: threading.Event | None) -> Follower:
        return Follower(
            self.api,
            poll=self.settings.poll_seconds,
            timeout=self.settings.create_timeout,
            progress=progress,
            stop=stop,
            clock=self._seams.clock or SystemClock(stop),
            run_id=self.run_id,
        )


def seams_of(settings: GkeSettings) -> Seams:
    """The real ones: Google's, or an emulated API's."""
    assert settings.project is not None
    project, pause = settings.project, Backoff(deadline=settings.retry_seconds)
    place = names.Place(project, settings.zone, settings.name)
    return Seams(
        api=lambda: api_of(settings, place, pause),
        rest=lambda: Rest(*access.session(settings), project, pause),
    )


def api_of(settings: GkeSettings, place: names.Place, pause: Backoff) -> GkeApi:
    """Connect to the GKE API.

    Args:
        settings: The settings of the cluster.
        place: Where it is.
        pause: How an API that does not answer is asked again.

    Returns:
        The API.

    Raises:
        CloudError: There are no credentials.
    """
    client, renew = access.connect(settings)
    return GkeApi(client, place, pause, renew)


def expired(cluster: Cluster, now: datetime) -> bool:
    """Tell whether a cluster of ours has outlived the time that its labels give it.

    Args:
        cluster: The cluster.
        now: The time.

    Returns:
        True where it has.
    """
    until = names.expiry(cluster.resource_labels)
    return names.is_ours(cluster.resource_labels) and until is not None and until <= now
