"""The settings of a cluster that is made on this machine; part of `meshlab.config.settings`, from where they are imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from meshlab.config.base import SettingsBase


class LocalSettings(SettingsBase):
    """The cluster that is made on this machine."""

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$")] = Field(
        "meshlab", description="Name of the cluster; also of its network namespaces, links and cgroups."
    )
    nodes: int = Field(3, ge=1, le=5, description="Number of nodes, each in a network namespace of its own.")
    kubernetes_version: str | None = Field(
        None, description="Refused unless it is the version that the embedded distribution compiles."
    )
    network: Annotated[str, Field(pattern=r"^10\.\d{1,3}$")] = Field(
        "10.177", description="First two octets of the /16 that nodes, pods and services share."
    )
    cluster_domain: Annotated[
        str,
        Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"),
    ] = Field(
        "cluster.local",
        max_length=100,
        description="Domain of the cluster's DNS, with which full names of services end.",
    )
    start_timeout: float = Field(120, gt=0, le=1800, description="Seconds until every node must be Ready.")
    image_archives: tuple[Path, ...] = Field(
        (),
        description="Files of images (docker save, or OCI layout) that every node gets; addons use them.",
    )
    inotify_instances: int | None = Field(
        None,
        ge=128,
        le=1_000_000,
        description="This machine's fs.inotify.max_user_instances while the cluster is there, where it is lower: "
        "128 are enough for about forty sidecars. Put back with the cluster; left alone when not given.",
    )
