"""Which clusters this process holds: one run at a time on a cluster that is not ours (see `lease`)."""

from __future__ import annotations

import threading

from meshlab.clusters.existing import current_context, kubeconfig_of
from meshlab.config.settings import LabConfig, Machine
from meshlab.kube.client import Kube
from meshlab.shared_cluster.lease import ClusterHold, places

_held: dict[str, ClusterHold] = {}
_lock = threading.Lock()


def take_hold(config: LabConfig, machine: Machine, run_id: str) -> None:
    """Hold the cluster for this run until `let_go`. Nothing where the provider is not `existing`, or it is held already.

    Raises ClusterBusyError naming the run that holds it, KubeError.
    """
    with _lock:
        if config.cluster != "existing" or run_id in _held:
            return
        path = kubeconfig_of(config.existing, machine)
        kube = Kube.connect(path, config.existing.context or current_context(path))
        taken = _held[run_id] = ClusterHold(kube, run_id, places(config))
        try:
            taken.acquire()
        except BaseException:  # it has let go by itself; a signal, too
            del _held[run_id]
            raise


def let_go(run_id: str) -> None:
    """Give the cluster back. Twice, or without holding one, is fine."""
    with _lock:
        taken = _held.pop(run_id, None)
    if taken is not None:
        taken.release()
