"""Official images, pulled for a local cluster whose nodes have no way out: all that pods name, or the addons' only."""

from __future__ import annotations

import threading
from typing import Any

from meshlab.app.deployment import as_pulled
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.pull import ANSWER_WITHIN, Pulled, Puller
from meshlab.config.settings import LabConfig
from meshlab.core.cancellation import stopping
from meshlab.core.errors import ClusterError, MeshlabError
from meshlab.core.process import SystemRunner
from meshlab.core.registry import find, instance
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import operator_document
from meshlab.lifecycle.context import context_of, istioctl_of
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.images import images, same
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.wanted import every_image
from meshlab.run.journal import RunRef, report_progress
from meshlab.security.mtls.capture import OFFICIAL_PYTHON
from tasks.common import lab_task, log_info
from tasks.report import progress_artifact

PULLED = (
    GRAFANA,
    KIALI,
    JAEGER,
)  # Prometheus is compiled: its own page and the shorter interval come with that
PATIENT = 60.0  # seconds for a registry's answer where images must be pulled
WITHOUT = "grafana.* are asked of Prometheus then, kiali.graph is skipped, and a compiled Jaeger runs"


@lab_task("pull-images", retries=1)
def pull_images(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[str, ...]:
    """Bring every official image that a pod of the run names to every node of a local cluster.

    Where Istio is a release that is its own, its sidecars' and its gateways'; where the apps are official, theirs, the addons'
    and those of the pods that ask.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster; what its nodes were given already is not pulled.
        distribution: Istio's istioctl and samples.

    Returns:
        References of the images that were brought; none where nothing may be pulled (`local.pull` is never).

    Raises:
        ClusterError: A registry refuses an image; each is named with its remedy.
        ProcessError: The nodes could not import them, and have none of them.
        IstioError: istioctl does not tell its images.
    """
    if config.local.pull == "never":
        return ()
    machine, runner = context_of(run).machine, SystemRunner()
    local = LocalCluster(config.local, machine, run_id=run.run_id, runner=runner)
    record = local.state.record()
    held = {*cluster.images, *(record.images if record else ())}  # a run that goes on has pulled them before
    wanted = _every_image(config, cluster, distribution)
    missing = [image for image in wanted if not any(same(image, each) for each in held)]
    puller = Puller(machine, runner, config.local.registry_mirrors, PATIENT, stopping())
    with progress_artifact("progress-images", "Official images"):
        found = puller.pull(missing, progress=report_progress)
        log_info(found.in_one_line())
        if found.refused:
            raise _refused(found)
        return local.add_archives(found.archives, progress=report_progress) if found.archives else ()


def _every_image(config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> tuple[str, ...]:
    rendered: list[dict[str, Any]] = []
    if config.distribution == "release":
        operator, _ = operator_document(config, distribution)
        rendered = istioctl_of(cluster, distribution).generate(operator)
    capture = config.security.capture_image or as_pulled(config, OFFICIAL_PYTHON)
    return every_image(config, distribution, rendered, also=[capture])


def _refused(found: Pulled) -> ClusterError:
    told = "; ".join(map(str, found.refused))
    return ClusterError(f"images must be pulled (local.pull), and: {told}", remedy=found.refused[0].remedy)


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
            raise _refused(found)
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
