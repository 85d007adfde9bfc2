"""The status of a cluster, as `gcloud container clusters create` and `list` print it."""

from __future__ import annotations

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.request import node_count

COLUMNS = (
    "NAME",
    "LOCATION",
    "MASTER_VERSION",
    "MASTER_IP",
    "MACHINE_TYPE",
    "NODE_VERSION",
    "NUM_NODES",
    "STATUS",
)


def status_row(cluster: Cluster) -> dict[str, str]:
    """One cluster under gcloud's column names."""
    machine = cluster.node_pools[0].config.machine_type if cluster.node_pools else ""
    values = (
        cluster.name,
        cluster.location,
        cluster.current_master_version or cluster.initial_cluster_version,
        cluster.endpoint,
        machine,
        cluster.current_node_version,
        str(node_count(cluster)),
        cluster.status.name,
    )
    return dict(zip(COLUMNS, values, strict=True))


def as_text(rows: list[dict[str, str]]) -> str:
    """The rows as gcloud prints them: columns as wide as their widest cell."""
    width = {name: max(len(name), *(len(row[name]) for row in rows)) for name in COLUMNS} if rows else {}
    lines = [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows] if rows else []
    return "".join(
        "  ".join(line[name].ljust(width[name]) for name in COLUMNS).rstrip() + "\n" for line in lines
    )
