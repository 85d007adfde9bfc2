"""The cluster as it is asked for and shown: the request, its Kubernetes version, its status as gcloud prints it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud.container_v1.types import (
    Cluster,
    ControlPlaneEndpointsConfig,
    CreateClusterRequest,
    DatapathProvider,
    IPAllocationPolicy,
    NetworkConfig,
    NodeConfig,
    NodePool,
    PrivateClusterConfig,
    ReleaseChannel,
    ServerConfig,
    SetLabelsRequest,
    WorkloadIdentityConfig,
    WorkloadMetadataConfig,
)

from meshlab.clusters.gke.names import POOL, RUN, Place, description
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import Problem

# A cluster in no channel is what gcloud makes of an explicit version; the API's own default is a channel.
NO_CHANNEL = ReleaseChannel.Channel.UNSPECIFIED
CHANNELS = {
    "rapid": ReleaseChannel.Channel.RAPID,
    "regular": ReleaseChannel.Channel.REGULAR,
    "stable": ReleaseChannel.Channel.STABLE,
    "extended": ReleaseChannel.Channel.EXTENDED,
}
V2 = DatapathProvider.ADVANCED_DATAPATH
METADATA_SERVER = WorkloadMetadataConfig.Mode.GKE_METADATA
REGIONAL_ZONES = 3  # in which GKE puts a regional cluster's nodes
SHOWN = 6  # versions that a message names
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


def cluster_of(settings: GkeSettings, version: Version, labels: Mapping[str, str]) -> Cluster:
    """The request's cluster: one pool of nodes, the labels that say whose it is."""
    nodes = NodePool(
        name=POOL,
        initial_node_count=settings.nodes,
        config=NodeConfig(
            machine_type=settings.machine_type,
            disk_size_gb=settings.disk_gb,
            spot=settings.spot,
            workload_metadata_config=WorkloadMetadataConfig(mode=METADATA_SERVER)
            if settings.workload_identity
            else None,
        ),
    )
    return Cluster(
        name=settings.name,
        description=description(labels.get(RUN, "")),
        initial_cluster_version=version.kubernetes,
        release_channel=ReleaseChannel(channel=CHANNELS[version.channel] if version.channel else NO_CHANNEL),
        network=settings.network,
        resource_labels=dict(labels),
        node_pools=[nodes],
        **_access_of(settings),
        **_options_of(settings),
    )


def _options_of(settings: GkeSettings) -> dict[str, Any]:
    """What the request says of Workload Identity, Dataplane V2 and addresses; nothing where the default is wanted."""
    found: dict[str, Any] = {}
    if settings.workload_identity:
        pool = WorkloadIdentityConfig(workload_pool=workload_pool(settings.project or ""))
        found["workload_identity_config"] = pool
    if settings.dataplane_v2:
        found["network_config"] = NetworkConfig(datapath_provider=V2)
    if vpc_native(settings):
        found["ip_allocation_policy"] = IPAllocationPolicy(use_ip_aliases=True)
    return found


def vpc_native(settings: GkeSettings) -> bool:
    """Whether pods need addresses of the VPC: private nodes and Dataplane V2 exist in such clusters only."""
    return settings.access == "private" or settings.dataplane_v2


def workload_pool(project: str) -> str:
    """The pool of a project's workload identities; a project of a domain has it behind its name."""
    domain, _, name = project.rpartition(":")
    return f"{name}.{domain}.svc.id.goog" if domain else f"{project}.svc.id.goog"


def creation_of(place: Place, cluster: Cluster) -> CreateClusterRequest:
    """The request that asks for a cluster: what is sent, and what `--plan` shows."""
    return CreateClusterRequest(parent=place.parent, cluster=cluster)


def labelling_of(place: Place, cluster: Cluster, labels: Mapping[str, str]) -> SetLabelsRequest:
    """Make the request that adds labels to those that a cluster has.

    Args:
        place: Where it is.
        cluster: The cluster, as it was read; the request is refused where somebody changed its labels since.
        labels: Those to be added.

    Returns:
        The request: what is sent, and what `--plan` shows.
    """
    return SetLabelsRequest(
        name=place.path,
        resource_labels={**cluster.resource_labels, **labels},
        label_fingerprint=cluster.label_fingerprint,
    )


def _access_of(settings: GkeSettings) -> dict[str, Any]:
    """What the request says of the endpoint that the settings want used; nothing for GKE's own default, a public one."""
    if settings.access == "dns":
        dns = ControlPlaneEndpointsConfig.DNSEndpointConfig(allow_external_traffic=True)
        return {"control_plane_endpoints_config": ControlPlaneEndpointsConfig(dns_endpoint_config=dns)}
    if settings.access == "private":
        private = PrivateClusterConfig(enable_private_nodes=True, enable_private_endpoint=True)
        return {"private_cluster_config": private}
    return {}


def size_of(settings: GkeSettings) -> str:
    """Say how large the cluster is: GKE puts a regional cluster's nodes into each of its zones."""
    each = f"{settings.nodes} × {'spot ' if settings.spot else ''}{settings.machine_type}"
    if not settings.regional:
        return each
    return f"{each} in each of {REGIONAL_ZONES} zones, {settings.nodes * REGIONAL_ZONES} nodes in all"


def node_count(cluster: Cluster) -> int:
    """How many nodes the cluster has in all its zones."""
    zones = max(1, len(cluster.locations))
    return cluster.current_node_count or sum(pool.initial_node_count for pool in cluster.node_pools) * zones


@dataclass(frozen=True)
class Version:
    """What is asked for: the full version, and the release channel, None for none."""

    kubernetes: str
    channel: str | None = None


def resolve(wanted: str, config: ServerConfig, location: str) -> Version | Problem:
    """Find the version that a word means in a location.

    Args:
        wanted: `latest`, a channel, a version or its begin.
        config: Which versions and channels the location has.
        location: A zone or a region.

    Returns:
        The version; or the problem, where there is none.
    """
    valid = sorted(config.valid_master_versions, key=order, reverse=True)
    if wanted == "latest":
        if valid:
            return Version(valid[0])
        return Problem(
            "--set gke.version", f"{location} offers no version at all", "use another zone: --zone ZONE"
        )
    if wanted in CHANNELS:
        for each in config.channels:
            if each.channel == CHANNELS[wanted] and each.default_version:
                return Version(each.default_version, wanted)
        names = [
            name
            for name, channel in CHANNELS.items()
            if any(each.channel == channel for each in config.channels)
        ]
        return Problem(
            f"--set gke.version={wanted}",
            f"{location} has no such channel",
            f"one of: latest, {', '.join(names)}",
        )
    for version in valid:
        if version == wanted or version.startswith((f"{wanted}.", f"{wanted}-")):
            return Version(version)
    shown = ", ".join(valid[:SHOWN]) + (" …" if len(valid) > SHOWN else "")
    return Problem(f"--set gke.version={wanted}", f"{location} does not offer it", f"one of: latest, {shown}")


def order(version: str) -> tuple[int, ...]:
    """A key that sorts versions such as 1.33.4-gke.1134000."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


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
