"""Cluster, Istio and the app as they stand: what runs, in which version, with which sidecars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import kubernetes

from meshlab.app import bookinfo as app
from meshlab.app.once import n_requests
from meshlab.app.source import find_source
from meshlab.checks import app as app_checks
from meshlab.checks import cluster as cluster_checks
from meshlab.checks import envoy as envoy_checks
from meshlab.checks import istio as istio_checks
from meshlab.checks.analyze import analyze
from meshlab.checks.base import skipped
from meshlab.checks.envoy_admin import dashboard as envoy_dashboard
from meshlab.checks.envoy_admin import read_dashboard
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import IstioError, KubeError, SecretsWithheldError, WaitTimeout
from meshlab.envoy.stats import SidecarReader
from meshlab.istio.distribution import Distribution
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.istio.proxies import proxy_statuses, wait_synced
from meshlab.kube.client import Kube
from meshlab.kube.kubectl import client_version
from meshlab.kube.pods import PodSummary
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of
from meshlab.report.tables import pod_rows
from meshlab.run.journal import RunRef, record_facts, report_progress
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info, make_checks
from tasks.dashboards_and_traces import gather
from tasks.report import publish_table
from tasks.resume import checks_passed

NO_VERSION = "65536.65536.65536"  # istiod's MaxIstioVersion, given to a client that names none
IMAGE_PREFIX = "localhost/"  # of every image that this project makes


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

    def version() -> CheckResult:
        server = kube.server_version()
        record_facts(run, versions={"kubernetes": server, "python_client": kubernetes.__version__})
        return cluster_checks.version(
            server=server,
            python_client=kubernetes.__version__,
            istioctl=distribution.version,
            kubectl=client_version(),
            wanted=config.local.kubernetes_version if config.cluster == "local" else None,
            kubelets=[node["status"]["nodeInfo"]["kubeletVersion"] for node in kube.objects("v1", "Node")],
        )

    checks = {
        "cluster.nodes-ready": lambda: cluster_checks.nodes_ready(kube.objects("v1", "Node"), cluster.nodes),
        "cluster.version": version,
    }
    return make_checks(run, checks)


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
    mesh = _Mesh(run, config, kube_of(cluster), istioctl_of(cluster, distribution), distribution)
    mesh.wait_synced()
    rows = pod_rows(lab_pods(mesh.kube, config))
    gather(run, pods=rows)
    publish_table("pods", rows, f"Pods of {SYSTEM_NAMESPACE} and {config.namespace}")
    checks = {
        "istio.cli": mesh.cli,
        "istio.control-plane": mesh.control_plane,
        "istio.injection": mesh.injection,
        "istio.versions": mesh.versions,
        "istio.proxies-synced": mesh.proxies_synced,
        "istio.analyze": mesh.analyze,
    }
    return make_checks(run, checks)


@dataclass(frozen=True)
class _Mesh:
    """Asks a mesh, and judges what it answers."""

    run: RunRef
    config: LabConfig
    kube: Kube
    istioctl: Istioctl
    distribution: Distribution

    def wait_synced(self) -> None:
        timeout = self.config.istio.install_timeout
        try:
            wait_synced(self.istioctl, self.expected(), timeout=timeout, progress=report_progress)
        except (WaitTimeout, IstioError) as late:  # no reason to make no check: they tell what is wrong
            log_info(late.message)

    def expected(self) -> Sequence[str]:
        return istio_checks.expected_proxies(lab_pods(self.kube, self.config))

    def cli(self) -> CheckResult:
        client = self.istioctl.version(remote=False)
        ours = self.distribution.ours
        recorded = build.checksums("cluster", context_of(self.run).machine) if ours else {}
        return istio_checks.cli(
            self.distribution.istioctl,
            client.client,
            self.istioctl.checksum(),
            revision=client.client_revision,
            wanted=self.config.istio.version,
            expected_sha256=recorded.get("istioctl"),
        )

    def control_plane(self) -> CheckResult:
        return istio_checks.control_plane(self.kube.pods(SYSTEM_NAMESPACE))

    def injection(self) -> CheckResult:
        namespaces = (each["metadata"] for each in self.kube.objects("v1", "Namespace"))
        labels = {each["name"]: each.get("labels") or {} for each in namespaces}
        namespace = self.config.namespace
        return istio_checks.injection(labels, namespace, self.kube.pods(namespace))

    def versions(self) -> CheckResult:
        found = self.istioctl.version()
        # A client of istiod that told no version (istioctl's own connection lingers) is no proxy.
        found = replace(found, data_plane=tuple(each for each in found.data_plane if each[1] != NO_VERSION))
        mesh = {
            "client": found.client,
            "control_plane": next((version for _, version in found.control_plane), None),
            "data_plane": dict(Counter(version for _, version in found.data_plane)),
        }
        record_facts(self.run, versions={"istio": mesh})
        return istio_checks.versions(found, expected_proxies=self.expected())

    def proxies_synced(self) -> CheckResult:
        within = None if self.config.scope == "mesh" else self.config.namespace
        statuses = proxy_statuses(self.kube, self.istioctl, within=within)
        return istio_checks.proxies_synced(statuses, self.expected())

    def analyze(self) -> CheckResult:
        try:
            findings = self.istioctl.analyze()
        except SecretsWithheldError as withheld:
            return skipped("istio.analyze", withheld.message, asked_for=True, remedy=withheld.remedy)
        return analyze(findings, namespaces=[SYSTEM_NAMESPACE, self.config.namespace])


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
    seen = _App(run, config, kube_of(cluster))
    checks = {
        "app.bookinfo": seen.bookinfo,
        "app.productpage": seen.productpage,
        "envoy.scrape": seen.scrape,
        "envoy.dashboard": seen.dashboard,
    }
    return make_checks(run, checks)


@dataclass(frozen=True)
class _App:
    """Asks the application and its sidecars, and judges what they answer."""

    run: RunRef
    config: LabConfig
    kube: Kube

    def bookinfo(self) -> CheckResult:
        namespace = self.config.namespace
        pods = self.kube.pods(namespace)
        record_facts(self.run, images=images_of(pods))
        names = [workload.name for workload in app.WORKLOADS]
        return app_checks.bookinfo(names, self.kube.objects("apps/v1", "Deployment", namespace), pods)

    def productpage(self) -> CheckResult:
        settings, namespace = self.config.app, self.config.namespace
        source = find_source(self.kube, namespace, app.SLEEPER.selector)
        url = host_port(app.PRODUCTPAGE.app, app.PORT) + app.PAGE_PATH
        answers = n_requests(self.kube, source, url, settings.page_requests, expect=app.PAGE_TITLE)
        return app_checks.productpage(answers, p50_ms=settings.page_p50_ms)

    def page_pod(self) -> PodSummary:
        namespace = self.config.namespace
        for pod in self.kube.pods(namespace, app.PRODUCTPAGE.selector):
            if pod.is_ready and not pod.deleting:
                return pod
        raise KubeError(
            f"no Ready pod of {app.PRODUCTPAGE.name} in {namespace}", remedy="look at check app.bookinfo"
        )

    def scrape(self) -> CheckResult:
        with SidecarReader(self.kube, self.config.namespace) as reader:
            return envoy_checks.scrape_pod(reader, self.page_pod())

    def dashboard(self) -> CheckResult:
        namespace = self.config.namespace
        found = read_dashboard(self.kube, namespace, self.page_pod().name)
        folder = self.run.evidence / "envoy"
        folder.mkdir(exist_ok=True)
        for name, text in found.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        record_facts(self.run, versions={"envoy": found.version})
        upstreams = [f"{name}.{namespace}.svc.cluster.local" for name in ("details", "reviews")]
        return envoy_dashboard(found, principal=app.PRODUCTPAGE.principal(namespace), upstreams=upstreams)


def images_of(pods: Sequence[PodSummary]) -> dict[str, dict[str, str | bool]]:
    """Tell each workload's image, and whether this project made it. A workload is its Deployment's name."""
    found: dict[str, dict[str, str | bool]] = {}
    for pod in pods:
        workload = "-".join(pod.name.split("-")[:-2]) or pod.name
        image = next(
            (
                pod.images[name]
                for name in pod.containers
                if name != istio_checks.PROXY and name in pod.images
            ),
            "",
        )
        found[workload] = {"image": image, "ours": image.startswith(IMAGE_PREFIX)}
    return found


def lab_pods(kube: Kube, config: LabConfig) -> list[PodSummary]:
    """List every pod of istio-system and of the app's namespace."""
    namespaces = dict.fromkeys((SYSTEM_NAMESPACE, config.namespace))
    return [pod for namespace in namespaces for pod in kube.pods(namespace)]
