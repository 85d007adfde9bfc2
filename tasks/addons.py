"""The addons: Prometheus."""

from __future__ import annotations

from meshlab.addons import prometheus
from meshlab.clusters.base import ClusterRef
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import ObjectRef
from meshlab.ledger import Entry, Ledger
from meshlab.runs import RunRef, tell
from meshlab.settings import LabConfig, Machine
from tasks.common import kube_of, lab_task, say
from tasks.report import progress_artifact


@lab_task("deploy-prometheus", tags=("addon",), retries=1)
def deploy_prometheus(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[ObjectRef, ...]:
    """Apply Istio's Prometheus addon and wait until it is Ready; one that a foreign cluster has is used as it is."""
    Ledger.open(Machine.here(), run).intend(Entry("addon", "prometheus", cluster.endpoint))
    with progress_artifact("progress-prometheus", "Prometheus"):
        refs = prometheus.deploy(config, distribution, kube_of(cluster), progress=tell)
    say(f"Prometheus is Ready in {config.prometheus.namespace}: {len(refs)} objects applied")
    return refs
