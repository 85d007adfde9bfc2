"""The settings of a cluster that is made on this machine; part of `meshlab.config.settings`, from where they are imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from meshlab.config.base import SettingsBase

Pull = Literal["auto", "never", "always"]
Registry = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?)$")]
# Without user and password: settings are shown.
Mirror = Annotated[
    str, Field(pattern=r"^(http://)?[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[a-z0-9][a-z0-9._-]*)*$")
]


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
    pull: Pull | None = Field(
        None,
        description="Fetch official images with skopeo: never, auto (the addons', where registries answer within 3 s), "
        "or always (else the run fails); auto for kept and served labs, never for others when not given. Where Istio is "
        "a release, or the apps are official, all images are fetched unless it is never.",
    )
    registry_mirrors: dict[Registry, Mirror] = Field(
        {},
        description="Stand-ins for registries, as {REGISTRY: HOST:PORT/PATH}, http:// before it without TLS; "
        "* stands for every other registry. Credentials come from skopeo's own auth.json.",
    )
    network_policy: bool = Field(
        False, description="Enforce NetworkPolicies, by kube-network-policies on every node (compiled once)."
    )
    cni: bool = Field(
        False,
        description="Install Istio with its CNI node agent (compiled once): sidecars need no init container with rights.",
    )
    inotify_instances: int | None = Field(
        None,
        ge=128,
        le=1_000_000,
        description="This machine's fs.inotify.max_user_instances while the cluster is there, where it is lower: "
        "128 are enough for about forty sidecars. Put back with the cluster; left alone when not given.",
    )
