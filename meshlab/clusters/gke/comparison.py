"""A cluster that is there, compared with what is asked for: before it is adopted, and once it runs."""

from __future__ import annotations

from google.cloud.container_v1.types import Cluster, NodePool

from meshlab.clusters.gke.request import CHANNELS, REGIONAL_ZONES, V2, Version, cluster_of
from meshlab.config.settings import GkeSettings

# Why Istio can't be installed there: istio/istio#37150 and istio/istio.io#16266 have Autopilot's refusals in full.
AUTOPILOT = (
    "Autopilot admits istio-init's NET_ADMIN only where the cluster was made with that permission, and never the "
    "SYS_ADMIN and the writable host paths of Istio's CNI agent"
)


def differences(cluster: Cluster, settings: GkeSettings) -> list[str]:
    """Say how a cluster that is there differs from what is asked for, as far as that matters to a lab.

    Args:
        cluster: The cluster.
        settings: What is asked for.

    Returns:
        A phrase for each difference.
    """
    if cluster.autopilot.enabled:
        return [f"Autopilot, which is no place for this lab ({AUTOPILOT})"]
    found = []
    pool = cluster.node_pools[0] if cluster.node_pools else NodePool()
    if pool.initial_node_count != settings.nodes:
        found.append(f"{pool.initial_node_count} nodes instead of {settings.nodes}")
    if pool.config.machine_type != settings.machine_type:
        found.append(f"{pool.config.machine_type} instead of {settings.machine_type}")
    if pool.config.spot != settings.spot:
        kinds = ("standard nodes", "spot nodes")
        found.append(f"{kinds[pool.config.spot]} instead of {kinds[settings.spot]}")
    if settings.workload_identity and not cluster.workload_identity_config.workload_pool:
        found.append("no Workload Identity")
    if settings.dataplane_v2 and cluster.network_config.datapath_provider != V2:
        found.append("no Dataplane V2")
    return found


def departures(cluster: Cluster, settings: GkeSettings) -> list[str]:
    """Say where a running cluster's own answer departs from what was asked for.

    Args:
        cluster: The cluster, as the API tells it.
        settings: What was asked for.

    Returns:
        A phrase for each: what it is, asked and answered.
    """
    channel = settings.version if settings.version in CHANNELS else None
    asked = cluster_of(settings, Version(cluster.initial_cluster_version, channel), {})
    pool, wanted = cluster.node_pools[0] if cluster.node_pools else NodePool(), asked.node_pools[0]
    zones = REGIONAL_ZONES if settings.regional else 1
    pairs = (
        ("nodes in a zone", wanted.initial_node_count, pool.initial_node_count),
        ("zones with nodes", zones, len(cluster.locations) or zones),
        ("machine type", wanted.config.machine_type, pool.config.machine_type),
        ("disk of a node in GB", wanted.config.disk_size_gb, pool.config.disk_size_gb),
        ("spot nodes", wanted.config.spot, pool.config.spot),
        ("Kubernetes", cluster.initial_cluster_version, cluster.current_master_version),
        (
            "release channel",
            asked.release_channel.channel.name.lower(),
            cluster.release_channel.channel.name.lower(),
        ),
        ("VPC network", asked.network, cluster.network),
        (
            "workload pool",
            asked.workload_identity_config.workload_pool,
            cluster.workload_identity_config.workload_pool,
        ),
        ("Dataplane V2", settings.dataplane_v2, cluster.network_config.datapath_provider == V2),
        (
            "private nodes",
            asked.private_cluster_config.enable_private_nodes,
            cluster.private_cluster_config.enable_private_nodes,
        ),
        ("Autopilot", False, cluster.autopilot.enabled),
    )
    return [
        f"{what}: asked for {wish or 'none'}, got {got or 'none'}" for what, wish, got in pairs if wish != got
    ]
