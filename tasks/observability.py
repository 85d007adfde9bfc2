"""What is looked at: cluster, mesh, app, Envoy and Prometheus. Each task makes one family of checks and records them."""

from __future__ import annotations

from collections.abc import Sequence

import kubernetes

from meshlab.checks import app as app_checks
from meshlab.checks import cluster as cluster_checks
from meshlab.checks import istio as istio_checks
from meshlab.checks.base import run_check
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build
from meshlab.istio.distribution import Distribution
from meshlab.kube.client import Kube
from meshlab.kube.kubectl import client_version
from meshlab.kube.pods import PodSummary
from meshlab.report.tables import pod_rows
from meshlab.results import CheckResult
from meshlab.runs import RunRef, record_check, record_facts
from meshlab.settings import LabConfig, Machine
from tasks.common import kube_of, lab_task
from tasks.istio import istioctl_of
from tasks.report import publish_table

SYSTEM = "istio-system"


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


def lab_pods(kube: Kube, config: LabConfig) -> list[PodSummary]:
    """Every pod of istio-system and of the app's namespace."""
    return [pod for namespace in dict.fromkeys((SYSTEM, config.namespace)) for pod in kube.pods(namespace)]


def _record(run: RunRef, checks: list[CheckResult]) -> list[CheckResult]:
    return [record_check(run, check) for check in checks]
