"""--resume RUN_ID and --from STEP: which run goes on, judged before anything is touched."""

from __future__ import annotations

from typing import Any

from meshlab.cli.flags import Again
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, MeshlabError, Problem
from meshlab.istio.acknowledge import remove_sentinels
from meshlab.istio.roll_back import pass_no_return
from meshlab.kube.changes import KIND as CHANGE
from meshlab.kube.changes import restore_left
from meshlab.kube.client import Kube
from meshlab.lifecycle import resume
from meshlab.run.journal import RunRef, ended, record, step
from meshlab.run.ledger import Entry, Ledger

CLUSTER_STEP = "start-cluster"


def kept_settings(config: LabConfig, again: Again, flow: str) -> tuple[RunRef, dict[str, Any]]:
    """The run and what it was asked for. Raises InputError for a run, a step or a flow that does not fit."""
    found = resume.problems(config.runs_dir, again.run_id, again.step)
    run = resume.find(config.runs_dir, again.run_id)
    if run is not None and run.flow != flow:
        what = f"is a run of {run.flow}, not of {flow}"
        found.append(Problem(f"--resume {again.run_id}", what, "resume it with the flow that began it"))
    if found or run is None:
        raise InputError(found)
    try:
        return run, resume.kept_config(run)
    except (OSError, ValueError):
        problem = Problem(f"--resume {again.run_id}", "its settings can't be read", "run the flow anew")
        raise InputError([problem]) from None


def judge_state(run: RunRef, again: Again, machine: Machine) -> None:
    """Raises InputError for a run that can't go on: one that is under way, or one whose lab is removed, wholly or not."""
    ledger, leaving = Ledger.of(machine, run.run_id), resume.leaving(run)
    anew = "run the flow anew"
    what, remedy = "", anew
    if ledger is not None and ledger.owner_lives():
        what, remedy = "is under way", "wait until it has ended"
    elif leaving is not None and ended(run):
        what = "has ended, and has removed what it made"
    elif leaving is False:
        what, remedy = (
            "had failed, and was removing what it made when it was cut off",
            f"make down, then {anew}",
        )
    elif leaving and again.step is not None:
        what, remedy = (
            "was removing what it made when it was cut off",
            "leave --from out: it goes on removing",
        )
    if what:
        raise InputError([Problem(f"--resume {run.run_id}", what, remedy)])


def judge_cluster(run: RunRef) -> ClusterRef | None:
    """The cluster that the run left, if it is the same one still; None where the run had none yet.

    Raises InputError where it does not answer or is another one: nothing of the run could be trusted there. A run
    that was removing its own cluster may find it gone.
    """
    found = resume.kept(run, CLUSTER_STEP)
    if found is None:
        return None
    where = f"--resume {run.run_id}"
    try:
        cluster: ClusterRef = resume.read_result(found, ClusterRef)
        if resume.leaving(run) and cluster.provider == "local":
            return cluster  # of this machine and of this name: nobody else's
        now = resume.identity(Kube.connect(cluster.kubeconfig, cluster.context))
    except MeshlabError as problem:
        what = f"the cluster that the run left can't be asked: {problem.message}"
        raise InputError([Problem(where, what, "bring it back, or run the flow anew")]) from None
    if now != found.cluster:
        what = f"another cluster answers at {cluster.endpoint}: kube-system is {now}, was {found.cluster}"
        raise InputError([Problem(where, what, "run the flow anew")])
    return cluster


def take_up(
    run: RunRef, again: Again, config: LabConfig, machine: Machine, cluster: ClusterRef | None
) -> None:
    """Hold what the run held, put back what its stages had changed, and trust what it kept.

    A stage that was cut off is begun again, and must find the cluster as it did the first time. Raises
    ClusterBusyError, ClusterError, KubeError, MeshlabError.
    """
    ledger = Ledger.open(machine, run)
    ledger.take_over()
    if cluster is not None and config.cluster == "local":
        LocalCluster(config.local, machine, run_id=run.run_id).claim()
        ledger.intend(Entry("cluster", config.local.name, "local"))  # struck out where the run had kept it
    resumption = resume.begin(run, again.step)
    if cluster is None or resumption.leaving or not any(each.kind == CHANGE for each in ledger.entries()):
        return
    with step(run, "put-back"):
        kube = Kube.connect(cluster.kubeconfig, cluster.context)
        pass_no_return(kube, ledger)
        restored = restore_left(kube, ledger)
        remove_sentinels(kube)
    record(run, {"event": "put-back", "objects": [str(ref) for ref in restored]})
