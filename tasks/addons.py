"""The addons with their images, tracing, and the clients of the background traffic."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from prefect import Task

from meshlab.app import traffic_clients
from meshlab.app.deployment import put_up
from meshlab.checks.live_mesh import IMAGE_PREFIX
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build, materials, web_ui
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import MeshlabError, NotHereError
from meshlab.core.process import Runner, SystemRunner
from meshlab.core.progress import Progress
from meshlab.istio import tracing
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, kube_of, mesh_of
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.images import images
from meshlab.observability.addons.jaeger import JAEGER, announce
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.run.compiles import noting_compiles
from meshlab.run.journal import RunRef, record_facts, report_progress
from meshlab.run.ledger import Entry
from tasks.common import lab_task, log_info
from tasks.images import PULLED, official_images
from tasks.report import progress_artifact
from tasks.resume import objects_ready, tracing_announced


def bring_image(run: RunRef, config: LabConfig, cluster: ClusterRef, name: str) -> tuple[str, ...]:
    """Compile an addon's image and import it, where the nodes of a local cluster lack it.

    Other clusters pull their images themselves.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        name: The addon's.

    Returns:
        References of all images that the nodes have.
    """
    if config.cluster != "local" or config.image_source != "embedded":
        return cluster.images
    machine, runner, progress = context_of(run).machine, SystemRunner(), noting_compiles(run)
    with progress_artifact(f"progress-{name}-build", f"Compile {name}"):
        build.build([name], machine=machine, runner=runner, log_dir=machine.state / "logs", progress=progress)
        if name == PROMETHEUS.name and config.keep:
            _build_page(machine, runner, progress)
    specs = materials.addon_images(machine, [name], runner=runner, progress=report_progress)
    missing = [spec for spec in specs if spec.reference not in cluster.images]
    LocalCluster(config.local, machine, run_id=run.run_id).add_images(missing)
    # First the addon's own: the nodes may have an older one, of before its page was built.
    return (*(spec.reference for spec in specs), *cluster.images)


def _build_page(machine: Machine, runner: Runner, progress: Progress) -> None:
    """Build Prometheus' web page for a lab that is kept to be looked at. Without it the lab is whole, but for the page."""
    try:
        web_ui.build(machine, runner=runner, log_dir=machine.state / "logs", progress=progress)
    except MeshlabError as problem:
        log_info(f"Prometheus answers queries, but has no web page: {problem}")


@lab_task("announce-tracing", retries=1, verify=tracing_announced, records_objects=True)
def announce_tracing(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[tuple[ObjectRef, ...], tracing.Restore]:
    """Apply Jaeger's Services, then trace every request, before any pod with a sidecar is created.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        The Services, and how to put the mesh's tracing back.
    """
    kube = kube_of(cluster)
    if not config.ours and (reason := JAEGER.why_not(config, distribution, kube)):
        log_info(f"no tracing: {reason}")
        return (), tracing.Restore("", ())
    context_of(run).ledger.intend(Entry("addon", "jaeger", cluster.endpoint))
    refs = announce(config, distribution, kube)
    ledger = None if config.ours else context_of(run).ledger
    try:
        restore = tracing.enable(kube, config, mesh_of(run, cluster), ledger)
    except NotHereError as problem:
        log_info(problem.message)
        return refs, tracing.Restore("", ())
    log_info(f"every request is traced by provider {restore.provider}")
    return refs, restore


@lab_task("restore-tracing")
def restore_tracing(
    run: RunRef, config: LabConfig, cluster: ClusterRef, before: tracing.Restore | None
) -> None:
    """Put the tracing of an external mesh back as it was, also where `announce_tracing` was cut off.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        before: What `announce_tracing` returned, if it came to its end; the ledger knows it, too.
    """
    kube = kube_of(cluster)
    if before is not None:
        tracing.restore(kube, before)
    tracing.restore_left(kube, context_of(run).ledger)  # the last word: what was there at first


def deploy(
    addon: Addon[Any], run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[ObjectRef, ...]:
    """Bring an addon's image where this project compiles it, apply the addon, and wait until it is Ready.

    Args:
        addon: The addon.
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        The objects that were applied: none where an image that is not compiled here can't be had.
    """
    kube = kube_of(cluster)
    pulled = official_images(run, config, cluster, distribution) if addon in PULLED else ()
    held = (*pulled, *cluster.images)
    if not (addon.compiled and config.ours) and (reason := addon.why_not(config, distribution, kube, held)):
        log_info(f"no {addon.title}: {reason}")
        return ()
    official = addon.compiled and bool(pulled) and set(images(addon.shipped(distribution))) <= set(pulled)
    context_of(run).ledger.intend(Entry("addon", addon.name, cluster.endpoint))
    if addon.compiled and not official:
        held = bring_image(run, config, cluster, addon.name)
    with progress_artifact(f"progress-{addon.name}", addon.title) if addon.compiled else nullcontext():
        refs = addon.deploy(
            config, distribution, kube, held=held, official=official, progress=report_progress
        )
    record_facts(run, images=_images(kube, refs))
    if official:
        log_info(f"the official {addon.title} runs in place of the compiled one")
    log_info(f"{addon.title} is Ready in {addon.namespace(config)}: {len(refs)} objects applied")
    return refs


def _images(kube: Kube, refs: Sequence[ObjectRef]) -> dict[str, dict[str, str | bool]]:
    """Deployment → the image that was applied, and whether this project made it."""
    found: dict[str, dict[str, str | bool]] = {}
    for ref in (each for each in refs if each.kind == "Deployment"):
        there = kube.get(ref.api_version, ref.kind, ref.name, ref.namespace) or {}
        for container in (
            ((there.get("spec") or {}).get("template") or {}).get("spec", {}).get("containers", [])[:1]
        ):
            image = str(container["image"])
            found[ref.name] = {"image": image, "ours": image.startswith(IMAGE_PREFIX)}
    return found


def deploy_task(
    addon: Addon[Any],
) -> Task[[RunRef, LabConfig, ClusterRef, Distribution], tuple[ObjectRef, ...]]:
    """Make the step that deploys one addon; one that an external cluster has is used as it is."""

    def deploy_addon(
        run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
    ) -> tuple[ObjectRef, ...]:
        return deploy(addon, run, config, cluster, distribution)

    deploy_addon.__name__ = deploy_addon.__qualname__ = f"deploy_{addon.name}"  # Prefect's key of the task
    step = lab_task(f"deploy-{addon.name}", retries=1, verify=objects_ready, records_objects=True)
    return step(deploy_addon)


deploy_prometheus, deploy_jaeger = deploy_task(PROMETHEUS), deploy_task(JAEGER)
deploy_grafana, deploy_kiali = deploy_task(GRAFANA), deploy_task(KIALI)


@lab_task("deploy-parties", retries=1, verify=objects_ready, records_objects=True)
def deploy_traffic_clients(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[ObjectRef, ...]:
    """Apply a TCP echo, a caller without a sidecar and a route through the ingress gateway, for the background traffic.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        The objects that were applied.
    """
    # Before anything is counted: the route changes the gateway's configuration.
    kube = kube_of(cluster)
    ingress = config.scope == "mesh" and not traffic_clients.why_no_ingress(kube, mesh_of(run, cluster))
    wanted = traffic_clients.documents(distribution, config, ingress=ingress)
    return put_up(kube, config, wanted, distribution.images, progress=report_progress)
