"""Official images of the addons, pulled once a run for a local cluster whose nodes have no way out."""

from __future__ import annotations

import threading

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.pull import ANSWER_WITHIN, Puller
from meshlab.config.settings import LabConfig
from meshlab.core.cancellation import stopping
from meshlab.core.errors import ClusterError, MeshlabError
from meshlab.core.process import SystemRunner
from meshlab.core.registry import find, instance
from meshlab.istio.distribution import Distribution
from meshlab.lifecycle.context import context_of
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.images import images, same
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.kiali import KIALI
from meshlab.run.journal import RunRef, report_progress
from tasks.common import log_info
from tasks.report import progress_artifact

PULLED = (
    GRAFANA,
    KIALI,
    JAEGER,
)  # Prometheus is compiled: its own page and the shorter interval come with that
PATIENT = 60.0  # seconds for a registry's answer where images must be pulled
WITHOUT = "grafana.* are asked of Prometheus then, kiali.graph is skipped, and a compiled Jaeger runs"


class _Pulling:
    """The addons' steps run side by side; the first pulls for all. references: None until it has."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.references: tuple[str, ...] | None = None


def official_images(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[str, ...]:
    """Pull the addons' official images and bring them to every node, as `local.pull` says.

    Args:
        run: The run; it pulls once.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Its samples name the images.

    Returns:
        References of the pulled images that every node has now: none where registries do not answer.

    Raises:
        ClusterError: Images must be pulled (`local.pull` is always), and some can't be.
        ProcessError: The nodes could not import them, and have none of them.
    """
    if config.cluster != "local" or config.image_source != "embedded" or config.pull == "never":
        return ()
    pulling = instance(_Pulling, run.run_id)
    with pulling.lock:
        if pulling.references is None:
            pulling.references = _pull(run, config, cluster, distribution)
        return pulling.references


def pulled_before(run: RunRef) -> tuple[str, ...]:
    """Return what this run has pulled so far."""
    pulling = find(_Pulling, run.run_id)
    return (pulling.references or ()) if pulling is not None else ()


def _pull(run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> tuple[str, ...]:
    wanted = dict.fromkeys(image for addon in PULLED for image in images(addon.shipped(distribution)))
    missing = [image for image in wanted if not any(same(image, each) for each in cluster.images)]
    machine, runner, must = context_of(run).machine, SystemRunner(), config.pull == "always"
    within = PATIENT if must else ANSWER_WITHIN
    puller = Puller(machine, runner, config.local.registry_mirrors, within, stopping())
    with progress_artifact("progress-images", "Official images"):
        found = puller.pull(missing, progress=report_progress)
        if must and found.refused:
            told = "; ".join(map(str, found.refused))
            raise ClusterError(
                f"images must be pulled (local.pull), and: {told}", remedy=found.refused[0].remedy
            )
        log_info(found.in_one_line() + (f". {WITHOUT}" if found.refused else ""))
        if not found.archives:
            return ()
        local = LocalCluster(config.local, machine, run_id=run.run_id, runner=runner)
        try:
            return local.add_archives(found.archives, progress=report_progress)
        except MeshlabError as problem:
            if must:
                raise
            log_info(f"the nodes can't import the pulled images, and have none of them: {problem}. {WITHOUT}")
            return ()
