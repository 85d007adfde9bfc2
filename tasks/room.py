"""What the run's own calls need on a hardened mesh: steps that are there only where the mesh is one."""

from __future__ import annotations

from typing import Any

from meshlab.app import fence, room
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from meshlab.istio.drained import wait_in_force
from meshlab.istio.facts import read_facts
from meshlab.kube.apply import ObjectRef, apply
from meshlab.kube.changes import labels_of
from meshlab.lifecycle.context import istioctl_of, kube_of
from meshlab.observability.addons.whereabouts import called, scraping_namespace
from meshlab.run.journal import RunRef
from meshlab.security.gateways.room import at_gateways
from tasks.common import lab_task, log_info
from tasks.resume import objects_ready


def make_room(run: RunRef, config: LabConfig, cluster: ClusterRef) -> tuple[ObjectRef, ...]:
    """Apply the policies that our calls need, before the first pod; no step on a mesh that needs none.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.

    Returns:
        What was applied.
    """
    kube = kube_of(cluster)
    mesh = read_facts(kube, config.namespace)
    prometheus = called(kube, config)
    traffic = fence.own_traffic(kube, mesh, config, scraping_namespace(kube, config))
    if traffic and config.prometheus.url:
        log_info(fence.UNKNOWN_SCRAPER)
    needed = [
        *traffic,
        *room.before_pods(kube, mesh, config, prometheus),
        *at_gateways(kube, mesh, config),
    ]
    return allow_own_calls(run, config, cluster, needed) if needed else ()


def make_room_for_plaintext(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[ObjectRef, ...]:
    """Apply what the caller without a sidecar needs, before anything is counted; no step on a mesh that needs none.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.

    Returns:
        What was applied.
    """
    kube = kube_of(cluster)
    needed = room.for_plaintext(kube, read_facts(kube, config.namespace), config)
    return allow_own_plaintext(run, config, cluster, distribution, needed) if needed else ()


@lab_task("allow-own-calls", retries=1, verify=objects_ready, records_objects=True)
def allow_own_calls(
    run: RunRef, config: LabConfig, cluster: ClusterRef, needed: list[dict[str, Any]]
) -> tuple[ObjectRef, ...]:
    """Apply what allows our own calls, and shows our sidecars what they call.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        needed: The objects.

    Returns:
        What was applied.
    """
    refs = apply(kube_of(cluster), needed, labels={**config.app.labels, **labels_of(run)})
    log_info(f"the mesh is closed, so our own calls are allowed by {', '.join(map(str, refs))}")
    return refs


@lab_task("allow-own-plaintext", retries=1, verify=objects_ready, records_objects=True)
def allow_own_plaintext(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    distribution: Distribution,
    needed: list[dict[str, Any]],
) -> tuple[ObjectRef, ...]:
    """Apply what lets our plaintext in until STRICT is proven, and wait until the proxies have taken it.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.
        needed: The objects.

    Returns:
        What was applied.
    """
    kube = kube_of(cluster)
    refs = apply(kube, needed, labels={**config.app.labels, **labels_of(run)})
    # A replaced listener takes its counters with it.
    wait_in_force(kube, istioctl_of(cluster, distribution), config.namespace)
    log_info(f"until STRICT is proven our plaintext is allowed by {', '.join(map(str, refs))}")
    return refs
