"""The cluster as it is asked for, from the settings: the document's `gcloud container clusters create`."""

from __future__ import annotations

from collections.abc import Mapping

from google.cloud.container_v1.types import Cluster, NodeConfig, NodePool, ReleaseChannel

from meshlab.clusters.gke.names import POOL
from meshlab.clusters.gke.versions import CHANNELS, Version
from meshlab.config.settings import GkeSettings

# A cluster in no channel is what gcloud makes of an explicit version; the API's own default is a channel.
NO_CHANNEL = ReleaseChannel.Channel.UNSPECIFIED


def cluster_of(settings: GkeSettings, version: Version, labels: Mapping[str, str]) -> Cluster:
    """The request's cluster: one pool of nodes, the labels that say whose it is."""
    nodes = NodePool(
        name=POOL,
        initial_node_count=settings.nodes,
        config=NodeConfig(machine_type=settings.machine_type, disk_size_gb=settings.disk_gb),
    )
    return Cluster(
        name=settings.name,
        description="Made by the mesh lab, which removes it; see its labels.",
        initial_cluster_version=version.kubernetes,
        release_channel=ReleaseChannel(channel=CHANNELS[version.channel] if version.channel else NO_CHANNEL),
        network=settings.network,
        resource_labels=dict(labels),
        node_pools=[nodes],
    )


def differences(cluster: Cluster, settings: GkeSettings) -> list[str]:
    """How a cluster that is there differs from what is asked for, as far as that matters to a lab."""
    found = []
    pool = cluster.node_pools[0] if cluster.node_pools else NodePool()
    if pool.initial_node_count != settings.nodes:
        found.append(f"{pool.initial_node_count} nodes instead of {settings.nodes}")
    if pool.config.machine_type != settings.machine_type:
        found.append(f"{pool.config.machine_type} instead of {settings.machine_type}")
    return found


def node_count(cluster: Cluster) -> int:
    """How many nodes the cluster has in all its zones."""
    zones = max(1, len(cluster.locations))
    return cluster.current_node_count or sum(pool.initial_node_count for pool in cluster.node_pools) * zones
