"""What is looked at: cluster, mesh, app, Envoy and Prometheus. Each task makes one family of checks and records them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import kubernetes

from meshlab.app import bookinfo as app
from meshlab.app.loop import TrafficResult
from meshlab.app.once import RoundResult, n_requests
from meshlab.app.source import find_source
from meshlab.checks import app as app_checks
from meshlab.checks import cluster as cluster_checks
from meshlab.checks import envoy as envoy_checks
from meshlab.checks import istio as istio_checks
from meshlab.checks import prometheus as query_checks
from meshlab.checks import targets as target_checks
from meshlab.checks.analyze import analyze
from meshlab.checks.base import run_check, skipped
from meshlab.checks.envoy_admin import dashboard as envoy_dashboard
from meshlab.checks.envoy_admin import read_dashboard
from meshlab.checks.prometheus import Sending
from meshlab.checks.rates import rate_5m
from meshlab.checks.reconcile import once_more, reconcile
from meshlab.checks.snapshot import Snapshot, take_scraped, take_snapshot
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import IstioError, KubeError, MeshlabError, SecretsWithheldError, WaitTimeout
from meshlab.envoy.stats import SidecarReader
from meshlab.istio.distribution import Distribution
from meshlab.istio.proxies import proxy_statuses, wait_synced
from meshlab.kube.client import Kube
from meshlab.kube.kubectl import client_version
from meshlab.kube.pods import PodSummary
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.query import PrometheusClient
from meshlab.report.tables import pod_rows
from meshlab.run.journal import RunRef, record_check, record_facts, report_progress
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.dashboards_and_traces import gather
from tasks.report import publish_table
from tasks.resume import any_value, checks_passed
from tasks.traffic import sent_so_far

SYSTEM = "istio-system"
PROXY = istio_checks.PROXY
NO_VERSION = "65536.65536.65536"  # istiod's MaxIstioVersion, given to a client that names none
SECOND_WINDOW = 20  # requests, where the first window of prometheus.reconcile was void
IMAGE_PREFIX = "localhost/"  # of every image that this project makes


@lab_task("check-cluster", verify=checks_passed, depends_on_pods=True)
def check_cluster(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> list[CheckResult]:
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

    return _record(
        run, [run_check("cluster.nodes-ready", nodes_ready), run_check("cluster.version", version)]
    )


@lab_task("check-istio", verify=checks_passed, depends_on_pods=True)
def check_istio(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> list[CheckResult]:
    """istio.cli, .control-plane, .injection, .versions, .proxies-synced; publishes the table `pods`."""
    kube, istioctl = kube_of(cluster), istioctl_of(cluster, distribution)

    def cli() -> CheckResult:
        client = istioctl.version(remote=False)
        recorded = build.checksums("cluster", context_of(run).machine) if distribution.ours else {}
        return istio_checks.cli(
            distribution.istioctl,
            client.client,
            istioctl.checksum(),
            revision=client.client_revision,
            wanted=config.istio.version,
            expected_sha256=recorded.get("istioctl"),
        )

    def injection() -> CheckResult:
        labels = {
            ns["metadata"]["name"]: ns["metadata"].get("labels") or {}
            for ns in kube.objects("v1", "Namespace")
        }
        return istio_checks.injection(labels, config.namespace, kube.pods(config.namespace))

    def versions() -> CheckResult:
        found = istioctl.version()
        # A client of istiod that told no version (istioctl's own connection lingers) is no proxy.
        known = tuple(entry for entry in found.data_plane if entry[1] != NO_VERSION)
        found = replace(found, data_plane=known)
        planes = [version for _, version in found.control_plane]
        proxies: dict[str, int] = {}
        for _, version in found.data_plane:
            proxies[version] = proxies.get(version, 0) + 1
        mesh = {"client": found.client, "control_plane": planes[0] if planes else None, "data_plane": proxies}
        record_facts(run, versions={"istio": mesh})
        return istio_checks.versions(found, expected_proxies=expected())

    def expected() -> Sequence[str]:
        return istio_checks.expected_proxies(lab_pods(kube, config))

    asked = None if config.scope == "mesh" else config.namespace

    def analyzed() -> CheckResult:
        try:
            findings = istioctl.analyze()
        except SecretsWithheldError as withheld:
            return skipped("istio.analyze", withheld.message, asked_for=True, remedy=withheld.remedy)
        return analyze(findings, namespaces=[SYSTEM, config.namespace])

    try:
        wait_synced(istioctl, expected(), timeout=config.istio.install_timeout, progress=report_progress)
    except (WaitTimeout, IstioError) as late:  # no reason to make no check: they tell what is wrong
        log_info(late.message)
    gather(run, pods=pod_rows(lab_pods(kube, config)))
    publish_table("pods", pod_rows(lab_pods(kube, config)), f"Pods of {SYSTEM} and {config.namespace}")
    return _record(
        run,
        [
            run_check("istio.cli", cli),
            run_check("istio.control-plane", lambda: istio_checks.control_plane(kube.pods(SYSTEM))),
            run_check("istio.injection", injection),
            run_check("istio.versions", versions),
            run_check(
                "istio.proxies-synced",
                lambda: istio_checks.proxies_synced(proxy_statuses(kube, istioctl, within=asked), expected()),
            ),
            run_check("istio.analyze", analyzed),
        ],
    )


@lab_task("check-app", verify=checks_passed, depends_on_pods=True)
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
        url = host_port(app.PRODUCTPAGE.app, app.PORT) + app.PAGE_PATH
        return app_checks.productpage(
            n_requests(kube, source, url, config.app.page_requests, expect=app.PAGE_TITLE),
            p50_ms=config.app.page_p50_ms,
        )

    def page_pod() -> PodSummary:
        pod = next(
            (p for p in kube.pods(namespace, app.PRODUCTPAGE.selector) if p.is_ready and not p.deleting), None
        )
        if pod is None:
            raise KubeError(
                f"no Ready pod of {app.PRODUCTPAGE.name} in {namespace}", remedy="look at check app.bookinfo"
            )
        return pod

    def scrape() -> CheckResult:
        with SidecarReader(kube, namespace) as reader:
            return envoy_checks.scrape_pod(reader, page_pod())

    def dashboard() -> CheckResult:
        found = read_dashboard(kube, namespace, page_pod().name)
        folder = run.evidence / "envoy"
        folder.mkdir(exist_ok=True)
        for name, text in found.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        record_facts(run, versions={"envoy": found.version})
        upstreams = [f"{name}.{namespace}.svc.cluster.local" for name in ("details", "reviews")]
        return envoy_dashboard(found, principal=app.PRODUCTPAGE.principal(namespace), upstreams=upstreams)

    return _record(
        run,
        [
            run_check("app.bookinfo", bookinfo),
            run_check("app.productpage", productpage),
            run_check("envoy.scrape", scrape),
            run_check("envoy.dashboard", dashboard),
        ],
    )


def images_of(pods: Sequence[PodSummary]) -> dict[str, dict[str, str | bool]]:
    """Workload → its image, and whether this project made it. A workload is its Deployment's name."""
    found: dict[str, dict[str, str | bool]] = {}
    for pod in pods:
        workload = "-".join(pod.name.split("-")[:-2]) or pod.name
        image = next(
            (pod.images[name] for name in pod.containers if name != PROXY and name in pod.images), ""
        )
        found[workload] = {"image": image, "ours": image.startswith(IMAGE_PREFIX)}
    return found


@lab_task("count-requests", verify=any_value, depends_on_pods=True)
def count_requests(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Snapshot:
    """What the sidecars of sleep and productpage have counted by now, read from the sidecars once nothing moves."""
    kube = kube_of(cluster)
    with SidecarReader(kube, config.namespace) as reader:
        return take_snapshot(kube, reader, config.namespace)


@lab_task("check-prometheus", verify=checks_passed, depends_on_pods=True)
def check_prometheus(
    run: RunRef, config: LabConfig, cluster: ClusterRef, before: Snapshot
) -> list[CheckResult]:
    """prometheus.targets and the document's first three queries, asked at the same time, while load flows."""
    kube, timeout = kube_of(cluster), config.prometheus.answer_timeout
    sending = Sending(sent=lambda: sent_so_far(run), baseline=before.totals())
    asked = (config.namespace, app.EDGES, sending)

    def targets(client: PrometheusClient) -> CheckResult:
        nodes = [node["metadata"]["name"] for node in kube.objects("v1", "Node")]
        return target_checks.targets(client, lab_pods(kube, config), nodes, timeout=timeout)

    return ask_prometheus(
        run,
        config,
        cluster,
        {
            "prometheus.targets": targets,
            "prometheus.requests-total": lambda c: query_checks.requests_total(c, *asked, timeout=timeout),
            "prometheus.code-200": lambda c: query_checks.code_200(c, *asked, timeout=timeout),
            "prometheus.sleep-to-productpage": lambda c: query_checks.sleep_to_productpage(
                c, config.namespace, app.EDGES[0], sending, timeout=timeout
            ),
        },
    )


@lab_task("check-rate", verify=checks_passed, depends_on_pods=True)
def check_rate(run: RunRef, config: LabConfig, cluster: ClusterRef) -> list[CheckResult]:
    """prometheus.rate-5m, the document's fourth query, while the gentle load flows."""
    low, high = config.traffic.gentle_interval
    timeout = config.prometheus.answer_timeout
    return ask_prometheus(
        run,
        config,
        cluster,
        {"prometheus.rate-5m": lambda c: rate_5m(c, asked_rate=2 / (low + high), timeout=timeout)},
    )


@lab_task("reconcile", verify=checks_passed, depends_on_pods=True)
def reconcile_requests(
    run: RunRef, config: LabConfig, cluster: ClusterRef, before: Snapshot, sent: Sequence[TrafficResult]
) -> CheckResult:
    """prometheus.reconcile: load stopped and drained, what the sidecars counted since `before` is what was sent.

    A window in which a pod or a listener was replaced is void; a second one of a few requests is made then, once.
    Load that ended before `before` was taken (by a run that was cut off, and goes on) is not counted.
    """
    kube, namespace = kube_of(cluster), config.namespace
    sent = [load for load in sent if load.first is None or load.first.timestamp() >= before.taken]

    def snapshot() -> Snapshot:
        with SidecarReader(kube, namespace) as reader:
            return take_snapshot(kube, reader, namespace)

    def window(before: Snapshot, sent: Sequence[TrafficResult | RoundResult]) -> CheckResult:
        after = snapshot()
        with PROMETHEUS.open(kube, config) as client:
            timeout = config.prometheus.answer_timeout
            scraped = take_scraped(client, after, namespace, before=before, timeout=timeout)
        return reconcile(before, after, sent, scraped)

    def second() -> CheckResult:
        begin = snapshot()
        source = find_source(kube, namespace, app.SLEEPER.selector)
        url = host_port(app.PRODUCTPAGE.app, app.PORT) + app.PAGE_PATH
        sent = n_requests(kube, source, url, SECOND_WINDOW)
        return window(begin, [sent])

    return record_check(
        run, run_check("prometheus.reconcile", lambda: once_more(window(before, sent), second))
    )


def ask_prometheus(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    checks: Mapping[str, Callable[[PrometheusClient], CheckResult]],
) -> list[CheckResult]:
    """Make checks that ask Prometheus, side by side through one port-forward; each waits for scrapes of its own."""

    def made(client: PrometheusClient | MeshlabError, check_id: str) -> CheckResult:
        def ask() -> CheckResult:
            if isinstance(client, MeshlabError):
                raise client
            return checks[check_id](client)

        return record_check(run, run_check(check_id, ask))

    with ExitStack() as stack, ThreadPoolExecutor(max_workers=len(checks)) as pool:
        client: PrometheusClient | MeshlabError
        try:
            client = stack.enter_context(PROMETHEUS.open(kube_of(cluster), config))
        except MeshlabError as problem:
            client = problem  # each of the checks can't be made, and says why
        return list(pool.map(lambda check_id: made(client, check_id), checks))


def lab_pods(kube: Kube, config: LabConfig) -> list[PodSummary]:
    """Every pod of istio-system and of the app's namespace."""
    return [pod for namespace in dict.fromkeys((SYSTEM, config.namespace)) for pod in kube.pods(namespace)]


def _record(run: RunRef, checks: list[CheckResult]) -> list[CheckResult]:
    return [record_check(run, check) for check in checks]
