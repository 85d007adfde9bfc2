"""What is replaced under load, where settings ask for it: pods, certificates, and the authority of the mesh."""

from __future__ import annotations

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from meshlab.run.journal import RunRef
from tasks.restarts import check_restarts
from tasks.rotation import check_rotation


def check_replaced(run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> None:
    """Make the checks of restarts and of the rotation drill, each where its setting is on.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.
    """
    if config.security.restarts:
        check_restarts(run, config, cluster)
    if config.security.rotation:
        check_rotation(run, config, cluster, distribution)
