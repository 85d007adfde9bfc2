"""Gateway API: its definitions, where the cluster has none, before the mesh is made."""

from __future__ import annotations

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build
from meshlab.config.settings import LabConfig
from meshlab.core.process import SystemRunner
from meshlab.istio.distribution import Distribution
from meshlab.istio.gateway_api import MODULE, definitions, standard_definitions, versions_of
from meshlab.kube.apply import ObjectRef, apply
from meshlab.kube.changes import labels_of
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.run.journal import RunRef
from tasks.common import lab_task, log_info
from tasks.resume import objects_ready


def make_gateway_api(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[ObjectRef, ...]:
    """Install the definitions of Gateway API where they are asked for, on a cluster of ours; no step elsewhere.

    They go with the run's objects, and with them whatever somebody has made of their kinds: on a cluster of others they
    are for its owner to install.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio; which definitions a release depends on is not known here.

    Returns:
        What was applied.
    """
    if not config.security.gateway_api or not config.ours or not distribution.embedded:
        return ()
    return install_gateway_api(run, config, cluster)


@lab_task("install-gateway-api", retries=1, verify=objects_ready, records_objects=True)
def install_gateway_api(run: RunRef, config: LabConfig, cluster: ClusterRef) -> tuple[ObjectRef, ...]:
    """Install the definitions that this Istio depends on, by the go.mod that it is compiled from.

    Definitions of others are left as they are.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.

    Returns:
        What was applied; none where the cluster has definitions.
    """
    kube = kube_of(cluster)
    there = definitions(kube)
    if there and all(each.run != run.run_id for each in there):
        log_info(f"the cluster has Gateway API {versions_of(there)}, which is left as it is")
        return ()
    source = build.module_dir(MODULE, machine=context_of(run).machine, runner=SystemRunner())
    refs = apply(kube, standard_definitions(source), labels=labels_of(run))
    log_info(f"installed {len(refs)} definitions of Gateway API {versions_of(definitions(kube))}")
    return refs
