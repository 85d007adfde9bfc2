"""What is counted: the document's queries to Prometheus, and whether its counts are what was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from meshlab.app import bookinfo as app
from meshlab.app.loop import TrafficResult
from meshlab.app.once import RoundResult, n_requests
from meshlab.app.source import find_source
from meshlab.checks import prometheus as query_checks
from meshlab.checks import targets as target_checks
from meshlab.checks.base import run_check
from meshlab.checks.prometheus import Sending
from meshlab.checks.rates import rate_5m
from meshlab.checks.reconcile import once_more, reconcile
from meshlab.checks.snapshot import Snapshot, take_scraped, take_snapshot
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import MeshlabError
from meshlab.envoy.stats import SidecarReader
from meshlab.lifecycle.context import kube_of
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.query import PrometheusClient
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult
from tasks.common import lab_task
from tasks.mesh_checks import lab_pods
from tasks.resume import any_value, checks_passed
from tasks.traffic import sent_so_far

SECOND_WINDOW = 20  # requests, where the first window of prometheus.reconcile was void


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
