"""Which clusters this process holds: one run at a time on a cluster that is not ours (see `lease`)."""

from __future__ import annotations

import threading

from meshlab.clusters.existing import connect
from meshlab.config.settings import LabConfig, Machine
from meshlab.core import registry
from meshlab.shared_cluster.lease import ClusterHold, places

_lock = threading.Lock()


def acquire_lease(config: LabConfig, machine: Machine, run_id: str) -> None:
    """Hold the cluster for this run until `release_lease`.

    Nothing where the provider is not `existing`, or it is held already.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        run_id: The run.

    Raises:
        ClusterBusyError: Another run holds it; its text names that run.
        KubeError: The cluster does not answer.
    """
    with _lock:
        if config.cluster != "existing" or registry.find(ClusterHold, run_id) is not None:
            return
        kube = connect(config.existing, machine)
        taken = ClusterHold(kube, run_id, places(config), demanded=config.app.labels)
        registry.put(taken, run_id)
        try:
            taken.acquire()
        except BaseException:  # it has let go by itself; a signal, too
            registry.take(ClusterHold, run_id)
            raise


def release_lease(run_id: str) -> None:
    """Give the cluster back. Twice, or without holding one, is fine."""
    with _lock:
        taken = registry.take(ClusterHold, run_id)
    if taken is not None:
        taken.release()
