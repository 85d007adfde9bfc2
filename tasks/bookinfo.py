"""Bookinfo and sleep, from the official manifests of the distribution in use."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab import app
from meshlab.clusters.base import ClusterRef
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import ObjectRef, delete
from meshlab.ledger import Entry, Ledger
from meshlab.runs import RunRef, tell
from meshlab.settings import LabConfig, Machine
from tasks.common import kube_of, lab_task, say
from tasks.report import progress_artifact


@lab_task("deploy-bookinfo", tags=("app",), retries=1)
def deploy_bookinfo(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[ObjectRef, ...]:
    """Apply Bookinfo and sleep and wait until all of it is Ready."""
    Ledger.open(Machine.here(), run).intend(Entry("app", config.namespace, cluster.endpoint))
    with progress_artifact("progress-bookinfo", "Bookinfo and sleep"):
        refs = app.deploy(config, distribution, kube_of(cluster), progress=tell)
    say(f"{len(refs)} objects applied, {len(app.WORKLOADS)} workloads Ready in {config.namespace}")
    return refs


@lab_task("remove-objects", tags=("app", "teardown"))
def remove_objects(run: RunRef, config: LabConfig, cluster: ClusterRef, refs: Sequence[ObjectRef]) -> None:
    """Delete what the run applied to a cluster that is not ours, and strike it out of the ledger."""
    delete(kube_of(cluster), refs, timeout=120)
    ledger = Ledger.open(Machine.here(), run)
    for entry in ledger.entries():
        if entry.kind in ("app", "addon"):
            ledger.gone(entry)
