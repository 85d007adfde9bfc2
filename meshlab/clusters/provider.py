"""The provider that a configuration asks for."""

from __future__ import annotations

from meshlab.clusters.base import ClusterProvider
from meshlab.errors import InputError, Problem
from meshlab.settings import LabConfig, Machine


def provider_of(config: LabConfig, machine: Machine, run_id: str) -> ClusterProvider:
    """The provider of `config.cluster`. Raises InputError for one that is not there yet."""
    if config.cluster == "local":
        from meshlab.clusters.local.cluster import LocalCluster

        return LocalCluster(config.local, machine, run_id=run_id)
    if config.cluster == "existing":
        from meshlab.clusters.existing import ExistingCluster

        return ExistingCluster(config.existing, machine)
    raise InputError(
        [Problem("--cluster gke", "the GKE provider is not there yet", "use --cluster local or existing")]
    )
