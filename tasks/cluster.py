"""The cluster's begin and end."""

from __future__ import annotations

from meshlab.checks.base import run_check
from meshlab.checks.leftovers import teardown_nothing_left
from meshlab.cli.launch import addons_of, note_cluster
from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.clusters.local import child as local_child
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.provider import forget_cluster, provider_of
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.cancellation import stopping
from meshlab.core.process import SystemRunner
from meshlab.core.text import pluralize
from meshlab.faults.held_mount import held_mount_of
from meshlab.faults.planting import CHANGES, firewall_of, put_back
from meshlab.istio.acknowledge import remove_sentinels
from meshlab.istio.upgrade import owes as owes_upgrade
from meshlab.istio.upgrade import take_back
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.run.journal import RunRef, keep_evidence, record_check, record_facts, report_progress
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.orphans import orphans
from meshlab.run.results import CheckResult
from meshlab.shared_cluster.cleanup import left_here, take_out
from meshlab.shared_cluster.footprint import footprint_before, keep_footprint
from tasks.common import lab_task, log_info
from tasks.load_balancers import show_status
from tasks.report import progress_artifact
from tasks.resume import cluster_answers


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
            child = child or local_child.start(
                config.local, run.run_id, run.evidence, addons=addons_of(config)
            )
            cluster = local_child.follow(child, progress=report_progress, stop=stopping())
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

    On a cluster that is not ours, what they applied is removed, too.

    Raises:
        KubeError: The API server refuses it.
        WaitTimeout: Something does not go.
    """
    left = [ledger for ledger in orphans(machine) if any(each.kind in CHANGES for each in ledger.entries())]
    for ledger in left:
        firewall = firewall_of(config, machine, SystemRunner(), ledger)
        mount = held_mount_of(config, machine, SystemRunner(), ledger)
        restored = put_back(kube_of(cluster), ledger, firewall, mount)
        log_info(f"put back what run {ledger.run_id} left changed: {', '.join(restored) or 'nothing here'}")
    if left:
        remove_sentinels(kube_of(cluster))
    for ledger in (each for each in orphans(machine) if owes_upgrade(each)):
        done = take_back(kube_of(cluster), ledger, timeout=config.app.rollout_timeout)
        log_info(f"rolled back the upgrade of run {ledger.run_id}: {', '.join(done) or 'nothing here'}")
    if config.cluster == "existing":
        kube = kube_of(cluster)
        for ledger in (each for each in orphans(machine) if left_here(kube, each)):
            removed = take_out(kube, ledger, config.namespace, adopting_run=run.run_id)
            log_info(f"removed what run {ledger.run_id} left: {len(removed)} objects")


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

    One that costs money stays in the ledger, with its load balancers: it is still to be removed, by a teardown.
    """
    if config.cluster == "local":
        LocalCluster(config.local, context_of(run).machine, run_id=run.run_id).release()
    if config.cluster == "gke":
        return
    ledger = context_of(run).ledger
    for entry in ledger.entries():
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
