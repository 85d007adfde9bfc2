"""Traffic throughout an upgrade: who sends it, its error budget while it flows, and the hand-over to the next pod."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from meshlab.app import upgrade_client
from meshlab.app.budget import Budget, RequestBook, Spent
from meshlab.app.deployment import put_up
from meshlab.app.relay import Relay
from meshlab.app.source import find_source
from meshlab.checks import upgrade as checks
from meshlab.checks.base import run_check
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.core.progress import Update
from meshlab.core.registry import instance
from meshlab.core.waiting import wait
from meshlab.istio.control_plane import asking_label, control_planes, injection_label
from meshlab.istio.distribution import Distribution
from meshlab.istio.upgrade import relabel
from meshlab.kube.apply import ObjectRef, apply, delete
from meshlab.kube.changes import MANAGED_BY, MANAGER, RUN_LABEL, labels_of
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import kube_of
from meshlab.run.journal import RunRef, record_check, record_measures, report_progress
from meshlab.run.results import CheckResult, Measure
from meshlab.shared_cluster.lease import made_by
from tasks.common import lab_task, log_info
from tasks.sabotage import changed

FILE = "requests-upgrade.csv"  # below the run's evidence
LOOK_EVERY = 0.5  # seconds
FIRST = 20  # good requests before anything is changed
FIRST_WITHIN = 60.0  # seconds
BUDGET = Budget()


class _Sending:
    """What sends for one run, and what watches it."""

    def __init__(self) -> None:
        self.relay: Relay | None = None
        self.trouble: tuple[str, ...] = ()
        self.stop = threading.Event()
        self.watcher: threading.Thread | None = None

    def watch(self) -> None:
        """Look at the budget until told to stop; the first trouble stays."""
        while not self.stop.wait(LOOK_EVERY):
            if self.relay is not None and not self.trouble:
                self.trouble = self.relay.trouble()


def _sending(run: RunRef) -> _Sending:
    return instance(_Sending, run.run_id)


def check_budget(run: RunRef) -> None:
    """Raise IstioError where the error budget is broken, or nothing is sent any more."""
    found = _sending(run).trouble
    if found:
        raise IstioError(
            f"the error budget of the upgrade is broken: {'; '.join(found)}",
            remedy=f"{FILE} in the run's evidence has every request",
        )


@lab_task("begin-upgrade-traffic", retries=1, records_objects=True)
def begin_upgrade_traffic(
    run: RunRef, config: LabConfig, cluster: ClusterRef, istio: Distribution
) -> tuple[ObjectRef, ...]:
    """Let a pod of a namespace of ours ask for the product page, without a pause, until `end_upgrade_traffic`.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's samples.

    Returns:
        The objects of the client.

    Raises:
        IstioError: Its namespace is somebody else's, or its requests fail before anything is changed.
        MeshlabError: The client does not get Ready.
    """
    kube, home = kube_of(cluster), upgrade_client.client_namespace(config)
    refs = _make_namespace(run, kube, config, home)
    numbers = upgrade_client.ready_clients(kube, home)
    number = numbers[-1] if numbers else max(upgrade_client.deployed(kube, home), default=0) + 1
    if not numbers:
        refs += _deploy(kube, config, istio, number)
    sending = _sending(run)
    if sending.relay is None:
        book = RequestBook(run.evidence / FILE)
        sending.relay = Relay(kube, upgrade_client.page_url(config), book, BUDGET)
        sending.relay.begin(find_source(kube, home, upgrade_client.selector_of(number)))
        sending.watcher = threading.Thread(target=sending.watch, name="error budget", daemon=True)
        sending.watcher.start()
    relay = sending.relay

    def broken(spent: Spent) -> IstioError | None:
        if sending.trouble:
            return IstioError(f"traffic fails before anything more is changed: {'; '.join(sending.trouble)}")
        return None

    before = relay.look().requests
    spent = wait(
        f"{FIRST} requests to {relay.url}",
        relay.look,
        ready=lambda spent: spent.requests >= before + FIRST,
        error=broken,
        timeout=FIRST_WITHIN,
    )
    log_info(f"traffic flows: {spent}")
    return refs


def _make_namespace(run: RunRef, kube: Kube, config: LabConfig, home: str) -> tuple[ObjectRef, ...]:
    """Make the client's namespace, labelled as this run's own; one that an earlier run of ours left becomes its own."""
    found = kube.get("v1", "Namespace", home)
    own = labels_of(run)
    if found is not None:
        labels = found["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) != MANAGER or RUN_LABEL not in labels:
            raise IstioError(
                f"the namespace {home} is there, and no run made it: the upgrade's client needs one of its own",
                remedy=f"remove it where nobody needs it (kubectl delete namespace {home}), or choose another "
                "namespace for the application: --namespace NAME",
            )
        if not made_by(found, run.run_id):
            kube.patch("v1", "Namespace", home, {"metadata": {"labels": own}})
        return ()
    planes = control_planes(kube)
    there = ((kube.get("v1", "Namespace", config.namespace) or {}).get("metadata") or {}).get("labels") or {}
    key, value = asking_label(planes, there) or injection_label(planes)
    meta = {"name": home, "labels": {**own, key: value}}
    return apply(kube, [{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}])


def _deploy(kube: Kube, config: LabConfig, istio: Distribution, number: int) -> tuple[ObjectRef, ...]:
    home = upgrade_client.client_namespace(config)
    there = changed(config, {"app": {"namespace": home}})
    documents = upgrade_client.documents(istio, number)
    return put_up(kube, there, documents, istio.images, progress=report_progress)


def switch_client(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    istio: Distribution,
    labels: Mapping[str, str | None],
) -> None:
    """Label the namespace that sends, and let a new pod of it take the sending over; the earlier ones go.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's samples.
        labels: The namespace's injection labels.
    """
    kube, home, sending = kube_of(cluster), upgrade_client.client_namespace(config), _sending(run)
    relabel(kube, home, labels)
    earlier = upgrade_client.deployed(kube, home)
    number = max(earlier, default=0) + 1
    _deploy(kube, config, istio, number)
    if sending.relay is not None:
        sending.relay.hand_over(find_source(kube, home, upgrade_client.selector_of(number)))
    refs = [
        ObjectRef("apps/v1", "Deployment", home, upgrade_client.deployment_name(each)) for each in earlier
    ]
    delete(kube, refs)


def tell_traffic(run: RunRef) -> None:
    """Report how many requests were sent so far."""
    sending = _sending(run)
    if sending.relay is not None:
        report_progress(Update("upgrade traffic", detail=str(sending.relay.look())))


@lab_task("end-upgrade-traffic")
def end_upgrade_traffic(run: RunRef) -> CheckResult:
    """End and drain the traffic, and make upgrade.traffic of all that was sent.

    Args:
        run: The run.

    Returns:
        The check.
    """
    sending = _sending(run)
    sending.stop.set()
    if sending.watcher is not None:
        sending.watcher.join()
    if sending.relay is None:
        raise MeshlabError("no traffic was begun", remedy="see the step that failed before it")
    spent, errors = sending.relay.end()
    sending.relay = None
    log_info(f"upgrade traffic: {spent}")
    record_measures(
        run,
        Measure("upgrade-requests", spent.requests, "requests"),
        Measure("upgrade-requests-failed", spent.failed, "requests"),
        *([Measure("upgrade-longest-gap", round(spent.gap_ms, 1), "ms")] if spent.gap_ms is not None else []),
    )
    return record_check(run, run_check("upgrade.traffic", checks.traffic, spent, BUDGET, errors))


def sends(run: RunRef) -> bool:
    """Tell whether traffic of an upgrade flows in this process."""
    return _sending(run).relay is not None


@lab_task("remove-upgrade-client")
def remove_upgrade_client(run: RunRef, config: LabConfig, cluster: ClusterRef) -> None:
    """Remove the namespace that sent, where this run made it.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
    """
    kube, home = kube_of(cluster), upgrade_client.client_namespace(config)
    if made_by(kube.get("v1", "Namespace", home), run.run_id):
        delete(kube, [ObjectRef("v1", "Namespace", None, home)])
