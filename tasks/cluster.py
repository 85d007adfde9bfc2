"""The cluster's begin and end."""

from __future__ import annotations

from meshlab.app.upgrade_client import client_namespace
from meshlab.checks.base import run_check
from meshlab.checks.leftovers import teardown_nothing_left
from meshlab.cli.launch import ADDONS, note_cluster
from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.clusters.local import child as local_child
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.provider import forget_cluster, provider_of
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.cancellation import stopping
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.core.process import SystemRunner
from meshlab.core.text import pluralize
from meshlab.faults.held_mount import held_mount_of
from meshlab.faults.planting import CHANGES, firewall_of, put_back
from meshlab.istio.acknowledge import remove_sentinels
from meshlab.istio.roll_back import Ending, finish_retiring, owes_here, retires_here, take_back
from meshlab.istio.upgrade import RETIRING
from meshlab.istio.upgrade import owes as owes_upgrade
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.run.compiles import noting_compiles
from meshlab.run.journal import RunRef, keep_evidence, record, record_check, record_facts, report_progress
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.orphans import orphans
from meshlab.run.results import CheckResult
from meshlab.shared_cluster.cleanup import left_here, take_out
from meshlab.shared_cluster.footprint import footprint_before, keep_footprint
from tasks.common import lab_task, log_info
from tasks.load_balancers import show_status
from tasks.report import progress_artifact
from tasks.resume import cluster_answers

AS_IT_IS = "where the mesh is as it should be, remove that ledger"


@lab_task("start-cluster", verify=cluster_answers)
def start_cluster(run: RunRef, config: LabConfig, *, child: local_child.UpChild | None = None) -> ClusterRef:
    """Bring the cluster up, or follow the `up` that was started before Prefect was imported.

    Returns when the nodes are Ready.

    Args:
        run: The run.
        config: The settings of the run.
        child: The process that brings the cluster up, where one was started before.

    Returns:
        The cluster.
    """
    machine = context_of(run).machine
    note_cluster(run, config, machine)
    with progress_artifact("progress-cluster", "Cluster"):
        if config.cluster == "local":
            Ledger.open(machine, run).intend(Entry("cluster", config.local.name, "local"))
            child = child or local_child.start(config.local, run.run_id, run.evidence, addons=ADDONS)
            cluster = local_child.follow(child, progress=noting_compiles(run), stop=stopping())
        else:
            cluster = provider_of(config, machine, run.run_id).up(progress=report_progress, stop=stopping())
    if config.cluster == "gke":
        show_status(run, config)
    if cluster.adopted or cluster.provider != "local":
        put_back_orphans(run, cluster, machine, config)
    record_facts(run, cluster={"provider": cluster.provider, "name": cluster.name, "nodes": cluster.nodes})
    record_facts(run, distribution=config.distribution)
    if config.cluster == "existing":
        before = footprint_before(kube_of(cluster), config.namespace, run.run_id)
        keep_footprint(run.evidence, before)
    keep_evidence(run, "cluster.json", cluster)
    log_info(
        f"cluster {cluster.name} {'adopted' if cluster.adopted else 'is up'}: "
        f"{pluralize(cluster.nodes, 'nodes')} at {cluster.endpoint}"
    )
    return cluster


def put_back_orphans(run: RunRef, cluster: ClusterRef, machine: Machine, config: LabConfig) -> None:
    """Put back what killed runs left changed or planted here, before anything is measured.

    On a cluster that is not ours, what they applied is removed, too. An upgrade that is half-way comes to an end first;
    where it does not, nothing of its run is touched.

    Raises:
        KubeError: The API server refuses it.
        WaitTimeout: Something does not go.
    """
    half_way = end_upgrades(run, kube_of(cluster), machine, config)
    others = [ledger for ledger in orphans(machine) if ledger.run_id not in half_way]
    left = [ledger for ledger in others if any(each.kind in CHANGES for each in ledger.entries())]
    for ledger in left:
        firewall = firewall_of(config, machine, SystemRunner(), ledger)
        mount = held_mount_of(config, machine, SystemRunner(), ledger)
        restored = put_back(kube_of(cluster), ledger, firewall, mount)
        log_info(f"put back what run {ledger.run_id} left changed: {', '.join(restored) or 'nothing here'}")
    if left:
        remove_sentinels(kube_of(cluster))
    if config.cluster == "existing":
        kube = kube_of(cluster)
        for ledger in (each for each in others if left_here(kube, each)):
            removed = take_out(kube, ledger, config.namespace, adopting_run=run.run_id)
            log_info(f"removed what run {ledger.run_id} left: {len(removed)} objects")


def end_upgrades(run: RunRef, kube: Kube, machine: Machine, config: LabConfig) -> set[str]:
    """Bring upgrades of killed runs to an end: taken back, or the old revision removed where that had begun.

    It changes the whole mesh, so only a run that may does it; what fails is a warning of the run, which goes on.

    Args:
        run: The run.
        kube: Client of the cluster.
        machine: This machine.
        config: The settings of the run.

    Returns:
        The runs whose upgrade is half-way still.
    """
    half_way = set()
    for ledger in orphans(machine):
        try:
            retires = retires_here(kube, ledger)
            if not retires and not owes_here(kube, ledger):
                continue
            if config.scope != "mesh":
                ending = Ending((), ("this run may not change the mesh (--allow-changes)",))
            elif retires:
                ending = finish_retiring(kube, ledger, timeout=config.istio.install_timeout)
            else:
                timeout, client = config.app.rollout_timeout, client_namespace(config)
                ending = take_back(kube, ledger, timeout=timeout, client=client)
        except MeshlabError as problem:
            ending = Ending((), (problem.message,))
        if ending.done:
            log_info(f"ended the upgrade of run {ledger.run_id}: {', '.join(ending.done)}")
        if not ending.failed:
            continue
        why = f"the upgrade of run {ledger.run_id} did not end well: {'; '.join(ending.failed)}"
        if retires_here(kube, ledger) or owes_here(kube, ledger):
            half_way.add(ledger.run_id)
            why += f". {ledger.path} has what is still to be done, by the next run here that may change the mesh; {AS_IT_IS}"
        record(
            run, {"event": "warning", "text": why}
        )  # else a workload is ill, and nothing is left to be done
    return half_way


def refuse_half_way(run: RunRef, cluster: ClusterRef) -> None:
    """Refuse to upgrade a mesh in which an upgrade of an earlier run is half-way.

    Args:
        run: The run.
        cluster: The cluster; what killed runs left there was put back as far as it could be.

    Raises:
        IstioError: There is one.
        KubeError: The cluster does not answer.
    """
    kube, machine = kube_of(cluster), context_of(run).machine
    left = [each for each in orphans(machine) if retires_here(kube, each) or owes_here(kube, each)]
    if left:
        told = ", ".join(each.run_id for each in left)
        raise IstioError(
            f"the upgrade of run {told} is half-way here",
            remedy=f"mend what this run's warnings name, then start this again; {AS_IT_IS}: "
            f"{', '.join(str(each.path) for each in left)}",
        )


@lab_task("inventory", teardown=True)
def take_inventory(run: RunRef, config: LabConfig) -> Leftovers:
    """What exists of the cluster on this machine: the control of the claim that nothing is left."""
    return context_of(run).provider.inventory()


@lab_task("remove-cluster")
def remove_cluster(run: RunRef, config: LabConfig, child: local_child.UpChild | None = None) -> None:
    """Take the cluster down, an unfinished `up` included, and strike it out of the ledger."""
    machine = context_of(run).machine
    if child is not None:
        local_child.end(child)
    provider_of(config, machine, run.run_id).down(progress=report_progress)
    ledger = Ledger.open(machine, run)
    for entry in ledger.entries():  # all that the run made lived in it
        ledger.gone(entry)
    forget_cluster(machine, config.local if config.cluster == "local" else config.gke)


@lab_task("release-cluster")
def release_cluster(run: RunRef, config: LabConfig) -> None:
    """Leave the cluster up for whoever comes next: the run no longer holds it, and no longer owes its removal.

    One that costs money stays in the ledger, with its load balancers: it is still to be removed, by a teardown. So does
    all of a run whose upgrade is half-way: that is still to be taken back, by --resume or the next run there.
    """
    if config.cluster == "local":
        LocalCluster(config.local, context_of(run).machine, run_id=run.run_id).release()
    if config.cluster == "gke":
        return
    ledger = context_of(run).ledger
    entries = ledger.entries()
    if owes_upgrade(ledger) or any(entry.kind == RETIRING for entry in entries):
        return
    for entry in entries:
        ledger.gone(entry)


@lab_task("check-teardown", teardown=True)
def check_teardown(run: RunRef, config: LabConfig, before: Leftovers, timeout: float = 15) -> CheckResult:
    """teardown.nothing-left: the inventory that found things before finds nothing now.

    Args:
        run: The run.
        config: The settings of the run.
        before: What was there before the removal, the control.
        timeout: Seconds until nothing may be left.

    Returns:
        The check.
    """
    provider = context_of(run).provider
    check = run_check(
        "teardown.nothing-left", teardown_nothing_left, before.items, lambda: provider.inventory().items,
        timeout=timeout,
    )  # fmt: skip
    return record_check(run, check)
