"""Cluster, Istio and the app as they stand: what runs, in which version, with which sidecars."""

from __future__ import annotations

from meshlab.checks import cluster as cluster_checks
from meshlab.checks import live_mesh
from meshlab.checks.gateway_api import crds, crds_wanted
from meshlab.checks.live_mesh import lab_pods
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.observability.addons.whereabouts import whereabouts
from meshlab.report.gathered import gather
from meshlab.report.tables import pod_rows
from meshlab.run.journal import RunRef, record_facts, report_progress
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info, make_checks
from tasks.report import publish_table
from tasks.resume import checks_passed


@lab_task("check-cluster", verify=checks_passed, depends_on_pods=True)
def check_cluster(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> list[CheckResult]:
    """Make cluster.nodes-ready and cluster.version.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        The checks.
    """
    kube = kube_of(cluster)
    return make_checks(
        run,
        {
            "cluster.nodes-ready": lambda: cluster_checks.nodes_ready(
                kube.objects("v1", "Node"), cluster.nodes
            ),
            "cluster.version": lambda: live_mesh.cluster_version(run, kube, config, distribution.version),
        },
    )


@lab_task("check-istio", verify=checks_passed, depends_on_pods=True)
def check_istio(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> list[CheckResult]:
    """Make istio.cli, .control-plane, .injection, .versions, .proxies-synced and .analyze; publish the table `pods`.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        The checks.
    """
    kube, istioctl, namespace = kube_of(cluster), istioctl_of(cluster, distribution), config.namespace
    mesh = context_of(run).read_mesh_again(
        cluster
    )  # pods with sidecars are there now, which tell how they come
    record_facts(run, mesh={**mesh.as_json(), "observability": whereabouts(kube, config)})
    if late := live_mesh.await_synced(kube, istioctl, config, mesh, report_progress):
        log_info(late)  # no reason to make no check: they tell what is wrong
    pods = pod_rows(lab_pods(kube, mesh))
    gather(run, pods=pods)
    publish_table("pods", pods, f"Pods of {' and '.join(mesh.namespaces)}")
    running = mesh.serving.version if mesh.serving else ""
    found = (
        make_checks(run, {"gateway.crds": lambda: crds(kube, running)}) if crds_wanted(kube, config) else []
    )
    compiled = build.checksums("cluster", context_of(run).machine) if distribution.embedded else {}
    sha256, wanted = compiled.get("istioctl"), config.istio.version
    return found + make_checks(
        run,
        {
            "istio.cli": lambda: live_mesh.istio_cli(istioctl, distribution, wanted, sha256),
            "istio.control-plane": lambda: live_mesh.istio_control_plane(kube, config, mesh),
            "istio.injection": lambda: live_mesh.istio_injection(kube, namespace),
            "istio.versions": lambda: live_mesh.istio_versions(run, kube, istioctl, config, mesh),
            "istio.proxies-synced": lambda: live_mesh.istio_proxies_synced(kube, istioctl, config, mesh),
            "istio.analyze": lambda: live_mesh.istio_analyze(kube, istioctl, mesh),
        },
    )


@lab_task("check-app", verify=checks_passed, depends_on_pods=True)
def check_app(run: RunRef, config: LabConfig, cluster: ClusterRef) -> list[CheckResult]:
    """Make app.bookinfo, app.productpage, envoy.scrape and envoy.dashboard; note which images run.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        The checks.
    """
    kube, namespace = kube_of(cluster), config.namespace
    return make_checks(
        run,
        {
            "app.bookinfo": lambda: live_mesh.app_bookinfo(run, kube, namespace),
            "app.productpage": lambda: live_mesh.app_productpage(kube, config),
            "envoy.scrape": lambda: live_mesh.envoy_scrape(kube, namespace),
            "envoy.dashboard": lambda: live_mesh.envoy_dashboard(run, kube, mesh_of(run, cluster)),
        },
    )
