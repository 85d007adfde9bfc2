"""What is looked at: cluster, mesh, app, Envoy and Prometheus. Each task makes one family of checks and records them."""

from __future__ import annotations

from collections.abc import Sequence

import kubernetes

from meshlab import app
from meshlab.checks import app as app_checks
from meshlab.checks import cluster as cluster_checks
from meshlab.checks import envoy as envoy_checks
from meshlab.checks import istio as istio_checks
from meshlab.checks.base import run_check
from meshlab.checks.scrape import SidecarReader, parse_stats
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build
from meshlab.errors import KubeError
from meshlab.istio.distribution import Distribution
from meshlab.kube.client import Kube
from meshlab.kube.kubectl import client_version
from meshlab.kube.pods import PodSummary
from meshlab.report.tables import pod_rows
from meshlab.results import CheckResult
from meshlab.runs import RunRef, record_check, record_facts
from meshlab.settings import LabConfig, Machine
from meshlab.traffic.once import n_requests
from meshlab.traffic.source import find_source
from tasks.common import kube_of, lab_task
from tasks.istio import istioctl_of
from tasks.report import publish_table

SYSTEM = "istio-system"
IMAGE_PREFIX = "localhost/"  # of every image that this project makes


@lab_task("check-cluster", tags=("check",))
def check_cluster(run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> list[CheckResult]:
    """cluster.nodes-ready, cluster.version."""
    kube = kube_of(cluster)

    def nodes_ready() -> CheckResult:
        return cluster_checks.nodes_ready(kube.objects("v1", "Node"), cluster.nodes)

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

    return _record(run, [run_check("cluster.nodes-ready", nodes_ready), run_check("cluster.version", version)])


@lab_task("check-istio", tags=("check", "istio"))
def check_istio(run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> list[CheckResult]:
    """istio.cli, .control-plane, .injection, .versions, .proxies-synced; publishes the table `pods`."""
    kube, istioctl = kube_of(cluster), istioctl_of(cluster, distribution)

    def cli() -> CheckResult:
        client = istioctl.version(remote=False)
        return istio_checks.cli(
            distribution.istioctl, client.client, istioctl.checksum(), revision=client.client_revision,
            wanted=config.istio.version, expected_sha256=build.checksums("cluster", Machine.here()).get("istioctl") if distribution.ours else None,
        )  # fmt: skip

    def injection() -> CheckResult:
        labels = {ns["metadata"]["name"]: ns["metadata"].get("labels") or {} for ns in kube.objects("v1", "Namespace")}
        return istio_checks.injection(labels, config.namespace, kube.pods(config.namespace))

    def versions() -> CheckResult:
        found = istioctl.version()
        planes = [version for _, version in found.control_plane]
        proxies: dict[str, int] = {}
        for _, version in found.data_plane:
            proxies[version] = proxies.get(version, 0) + 1
        mesh = {"client": found.client, "control_plane": planes[0] if planes else None, "data_plane": proxies}
        record_facts(run, versions={"istio": mesh})
        return istio_checks.versions(found, expected_proxies=expected())

    def expected() -> Sequence[str]:
        return istio_checks.expected_proxies(lab_pods(kube, config))

    publish_table("pods", pod_rows(lab_pods(kube, config)), f"Pods of {SYSTEM} and {config.namespace}")
    return _record(
        run,
        [
            run_check("istio.cli", cli),
            run_check("istio.control-plane", lambda: istio_checks.control_plane(kube.pods(SYSTEM))),
            run_check("istio.injection", injection),
            run_check("istio.versions", versions),
            run_check(
                "istio.proxies-synced", lambda: istio_checks.proxies_synced(istioctl.proxy_status(), expected())
            ),
        ],
    )


@lab_task("check-app", tags=("check", "app"))
def check_app(run: RunRef, config: LabConfig, cluster: ClusterRef) -> list[CheckResult]:
    """app.bookinfo, app.productpage, envoy.scrape; notes which images run."""
    kube, namespace = kube_of(cluster), config.namespace

    def bookinfo() -> CheckResult:
        pods = kube.pods(namespace)
        record_facts(run, images=images_of(pods))
        names = [workload.name for workload in app.WORKLOADS]
        return app_checks.bookinfo(names, kube.objects("apps/v1", "Deployment", namespace), pods)

    def productpage() -> CheckResult:
        source = find_source(kube, namespace, app.SLEEPER.selector)
        url = f"{app.PRODUCTPAGE.app}:{app.PORT}{app.PAGE_PATH}"
        return app_checks.productpage(
            n_requests(
                kube, namespace, source.pod, url, config.app.page_requests, container=source.container,
                expect=app.PAGE_TITLE,
            )
        )  # fmt: skip

    def scrape() -> CheckResult:
        pod = next((p for p in kube.pods(namespace, app.PRODUCTPAGE.selector) if p.is_ready and not p.deleting), None)
        if pod is None:
            raise KubeError(f"no Ready pod of {app.PRODUCTPAGE.name} in {namespace}", remedy="look at check app.bookinfo")
        with SidecarReader(kube, namespace) as reader:
            text = reader.stats_text(pod.name)
        (run.evidence / "envoy-stats-productpage.txt").write_text(text, encoding="utf-8")
        return envoy_checks.scrape(pod.name, parse_stats(text), lines=len(text.splitlines()))

    return _record(
        run,
        [run_check("app.bookinfo", bookinfo), run_check("app.productpage", productpage), run_check("envoy.scrape", scrape)],
    )


def images_of(pods: Sequence[PodSummary]) -> dict[str, dict[str, str | bool]]:
    """Workload → its image, and whether this project made it. A workload is its Deployment's name."""
    found: dict[str, dict[str, str | bool]] = {}
    for pod in pods:
        workload = "-".join(pod.name.split("-")[:-2]) or pod.name
        image = next((image for name, image in zip(pod.containers, pod.images, strict=False) if name != "istio-proxy"), "")
        found[workload] = {"image": image, "ours": image.startswith(IMAGE_PREFIX)}
    return found


def lab_pods(kube: Kube, config: LabConfig) -> list[PodSummary]:
    """Every pod of istio-system and of the app's namespace."""
    return [pod for namespace in dict.fromkeys((SYSTEM, config.namespace)) for pod in kube.pods(namespace)]


def _record(run: RunRef, checks: list[CheckResult]) -> list[CheckResult]:
    return [record_check(run, check) for check in checks]
