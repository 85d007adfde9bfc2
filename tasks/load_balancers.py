"""What a cluster that somebody bills for adds to the run: its status table, its load balancers in the ledger.

Google's libraries take a second to import, so they are imported where a GKE cluster is in use.
"""

from __future__ import annotations

from meshlab.config.settings import LabConfig
from meshlab.core.text import pluralize
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of
from meshlab.run.journal import RunRef, record, record_facts
from tasks.common import log_info
from tasks.report import publish_table


def show_status(run: RunRef, config: LabConfig) -> None:
    """The cluster's status, as gcloud prints it: artifact `cluster`, evidence, and a line of the log.

    Where the cluster's answer departs from what was asked for, the run says so.
    """
    from meshlab.clusters.gke.cluster import GkeCluster
    from meshlab.clusters.gke.request import as_text

    cluster = GkeCluster(config.gke, context_of(run).machine, run_id=run.run_id)
    rows = cluster.status_table()
    publish_table("cluster", rows, "Status of the cluster, as gcloud prints it")
    (run.evidence / "cluster-status.txt").write_text(as_text(rows), encoding="utf-8")
    record_facts(run, versions={"gke": rows[0]["MASTER_VERSION"]} if rows else {})
    log_info(as_text(rows))
    for text in cluster.departures():
        record(run, {"event": "warning", "text": f"the cluster is not as it was asked for: {text}"})


def note_balancers(run: RunRef, config: LabConfig, kube: Kube) -> None:
    """Write the load balancers that have appeared into the ledger.

    So they are found whatever becomes of the cluster.

    Args:
        run: The run.
        config: The settings of the run.
        kube: Client of the cluster.
    """
    from meshlab.clusters.gke.cluster import GkeCluster

    count = GkeCluster(config.gke, context_of(run).machine, run_id=run.run_id).note_balancers(kube)
    log_info(f"{pluralize(count, 'load balancers')} in the ledger")
