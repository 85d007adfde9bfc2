"""The provider that a configuration asks for."""

from __future__ import annotations

from meshlab.clusters.base import ClusterProvider
from meshlab.config.settings import GkeSettings, LabConfig, LocalSettings, Machine
from meshlab.run.ledger import Entry
from meshlab.run.orphans import forget


def provider_of(config: LabConfig, machine: Machine, run_id: str) -> ClusterProvider:
    """Make the provider of `config.cluster`.

    Imported when it is asked for: each brings libraries of its own.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        run_id: The run that holds the cluster.

    Returns:
        The provider.
    """
    if config.cluster == "local":
        from meshlab.clusters.local.cluster import LocalCluster

        return LocalCluster(config.local, machine, run_id=run_id)
    if config.cluster == "existing":
        from meshlab.clusters.existing import ExistingCluster

        return ExistingCluster(config.existing, machine)
    from meshlab.clusters.gke.cluster import GkeCluster

    return GkeCluster(config.gke, machine, run_id=run_id)


def name_of(config: LabConfig, machine: Machine) -> str:
    """Say what the cluster is called, before it answers.

    A night on which it does not answer belongs to the others on it.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.

    Returns:
        The name as its `ClusterRef` will have it.
    """
    if config.cluster == "local":
        return config.local.name
    if config.cluster == "gke":
        return config.gke.name
    from meshlab.clusters.existing import named

    return named(config.existing, machine)


def forget_cluster(machine: Machine, settings: LocalSettings | GkeSettings) -> list[str]:
    """Close the ledgers of dead runs whose cluster of this name and place is gone now.

    Args:
        machine: This machine: its folders and what it has.
        settings: Of the cluster.

    Returns:
        The ids of those runs.
    """
    if isinstance(settings, LocalSettings):
        return forget(machine, Entry("cluster", settings.name, "local"))
    from meshlab.clusters.gke.names import Place
    from meshlab.clusters.gke.record import entry_of

    return forget(machine, entry_of(Place(settings.project or "", settings.zone, settings.name)))
