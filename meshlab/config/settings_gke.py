"""The settings of a cluster on Google Kubernetes Engine; part of `meshlab.config.settings`, from where they are imported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlab.config.base import SettingsBase


class GkeSettings(SettingsBase):
    """A cluster on Google Kubernetes Engine. Defaults are the document's own command."""

    project: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.:-]{0,61}[a-z0-9])?$")] | None = Field(
        None, description="Google Cloud project that pays."
    )
    zone: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+\d+(-[a-z])?$")] = Field(
        "us-central1-b", description="Zone, or region for a regional cluster."
    )
    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")] = Field(
        "my-istio-cluster", description="Name of the cluster."
    )
    nodes: int = Field(3, ge=1, le=50, description="Number of nodes; in a region, of each of its zones.")
    machine_type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")] = Field(
        "e2-medium", description="Machine type of the nodes."
    )
    disk_gb: int = Field(100, ge=12, le=2000, description="Size of a node's disk, in GB.")
    version: Annotated[
        str, Field(pattern=r"^(latest|rapid|regular|stable|extended|\d+\.\d+[0-9a-z.-]*)$")
    ] = Field(
        "latest",
        description="Kubernetes version or its begin, latest, or a release channel: rapid, regular, stable, extended.",
    )
    network: str = Field("default", description="VPC network.")
    access: Literal["public", "private", "dns"] = Field(
        "public", description="Which endpoint of the control plane is used: public, private or dns."
    )
    spot: bool = Field(
        False,
        description="Spot nodes: cheaper, and Google may take one away at any time, which fails checks.",
    )
    workload_identity: bool = Field(
        False,
        description="Workload Identity Federation: the project's pool, and GKE's metadata server on nodes.",
    )
    dataplane_v2: bool = Field(False, description="GKE Dataplane V2 (Cilium) in place of kube-proxy.")
    autopilot: bool = Field(
        False, description="Refused, with the reason: Autopilot does not admit what Istio needs."
    )
    hours_to_live: float = Field(
        4, gt=0, le=168, description="Hours after which the reaper may remove the cluster."
    )
    cost_ceiling: float = Field(
        10, gt=0, le=100_000, description="US dollars that nodes may cost in that time; more is refused."
    )
    hourly_price: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="US dollars an hour of a machine, spot or not, where our price table is not to be used.",
    )
    create_timeout: float = Field(
        1800, gt=0, le=7200, description="Seconds until the cluster must run, or be gone."
    )
    retry_seconds: float = Field(
        120, gt=0, le=1800, description="Seconds for which an API that does not answer is asked again."
    )
    poll_seconds: float = Field(
        3, gt=0, le=60, description="Seconds between two looks at an operation of the API."
    )
    api_endpoint: Annotated[str, Field(pattern=r"^(http://)?[A-Za-z0-9.\[\]:-]+:\d{1,5}$")] | None = Field(
        None, description="HOST:PORT of the GKE API, for an emulated one; without TLS on the loopback only."
    )
    compute_endpoint: Annotated[str, Field(pattern=r"^(http://)?[A-Za-z0-9.\[\]:-]+:\d{1,5}$")] | None = (
        Field(
            None,
            description="HOST:PORT of the REST APIs beside it; the port after api_endpoint's when not given.",
        )
    )

    @property
    def regional(self) -> bool:
        """Whether the location is a region, with nodes in several zones."""
        return self.zone.count("-") == 1

    @property
    def region(self) -> str:
        """The region, of a zone too."""
        return "-".join(self.zone.split("-")[:2])
