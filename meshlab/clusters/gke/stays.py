"""What stays in the cloud and is paid for, in words: its name and place, what it costs an hour, the command that removes it."""

from __future__ import annotations

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.names import Place, delete_command
from meshlab.clusters.gke.prices import estimate
from meshlab.clusters.gke.request import node_count
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import CloudError


def hourly(cluster: Cluster, settings: GkeSettings) -> float | None:
    """Estimate what a cluster costs an hour.

    Args:
        cluster: As the API has it: its nodes and its place count.
        settings: What is known of prices beside the table.

    Returns:
        US dollars; None where its machines have no price in the table.
    """
    config = cluster.node_pools[0].config if cluster.node_pools else None
    found = {
        "zone": cluster.location,
        "nodes": node_count(cluster),
        "machine_type": config.machine_type if config else settings.machine_type,
        "disk_gb": config.disk_size_gb if config else settings.disk_gb,
        "spot": config.spot if config else settings.spot,
    }
    costs = estimate(settings.model_copy(update=found))
    return costs.hourly if costs is not None else None


def paid(price: float | None) -> str:
    """Say what something costs an hour. price: US dollars; None where it is not known."""
    return f"about {price:.2f} USD an hour" if price is not None else "paid for; its price is not known"


def named(place: Place, price: float | None) -> str:
    """Name a cluster by its path, which holds project and location, with its price.

    Args:
        place: Where it is.
        price: US dollars an hour; None where it is not known.

    Returns:
        A few words.
    """
    return f"{place.path} ({paid(price)})"


def adopted(place: Place, run_id: str, price: float | None) -> CloudError:
    """Say that a cluster stays because another run has adopted it.

    Args:
        place: Where the cluster is.
        run_id: The run that has it now.
        price: What it costs an hour, US dollars; None where that is not known.

    Returns:
        The error.
    """
    return CloudError(
        f"{named(place, price)} stays: run {run_id} has adopted it, and answers for it",
        kind="exists",
        remedy=f"remove it: python -m flows.teardown --run {run_id} --project {place.project}",
    )


def nameless(place: Place, price: float | None) -> CloudError:
    """Say that a cluster stays because it may be this run's, or somebody else's.

    Args:
        place: Where the cluster is.
        price: What it costs an hour, US dollars; None where that is not known.

    Returns:
        The error.
    """
    return CloudError(
        f"{named(place, price)} stays: this run asked for a cluster of that name, never learned its id, and the one "
        f"that is there has no label of ours",
        kind="leftovers",
        remedy=f"look whose it is, and remove it: {delete_command(place)}",
    )
