"""Ask the live Prometheus and the sidecars, and have the checks judge the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from meshlab.app.bookinfo import EDGES
from meshlab.app.loop import TrafficResult
from meshlab.app.once import RoundResult
from meshlab.checks.base import run_check
from meshlab.checks.live_mesh import ask_productpage, lab_pods
from meshlab.checks.prometheus import Sending, code_200, requests_total, sleep_to_productpage
from meshlab.checks.reconcile import once_more, reconcile
from meshlab.checks.snapshot import Snapshot, take_scraped, take_snapshot
from meshlab.checks.targets import targets
from meshlab.config.settings import LabConfig
from meshlab.core.attempt import attempt, given
from meshlab.envoy.stats import SidecarReader
from meshlab.kube.client import Kube
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.query import PrometheusClient
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult

SECOND_WINDOW = 20  # requests, where the first window of prometheus.reconcile was void


def ask_prometheus(
    run: RunRef,
    kube: Kube,
    config: LabConfig,
    checks: Mapping[str, Callable[[PrometheusClient], CheckResult]],
) -> list[CheckResult]:
    """Make and record checks that ask Prometheus, side by side through one port-forward.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.
        checks: Id → asks the client, and judges.

    Returns:
        The checks, in their order: each an infra-error where Prometheus can't be reached.
    """
    with ExitStack() as stack, ThreadPoolExecutor(max_workers=len(checks)) as pool:
        client = attempt(lambda: stack.enter_context(PROMETHEUS.open(kube, config)))

        def make(check_id: str) -> CheckResult:
            return record_check(run, run_check(check_id, lambda: checks[check_id](given(client))))

        return list(pool.map(make, checks))


def document_queries(
    kube: Kube, config: LabConfig, sending: Sending
) -> dict[str, Callable[[PrometheusClient], CheckResult]]:
    """List prometheus.targets and the document's first three queries, for `ask_prometheus`.

    Args:
        kube: Client of the cluster.
        config: The settings.
        sending: What the load has sent by now.

    Returns:
        Check id → asks the client, and judges.
    """
    namespace, timeout = config.namespace, config.prometheus.answer_timeout
    asked = (namespace, EDGES, sending)

    def expected_targets(client: PrometheusClient) -> CheckResult:
        nodes = [node["metadata"]["name"] for node in kube.objects("v1", "Node")]
        return targets(client, lab_pods(kube, config), nodes, timeout=timeout)

    return {
        "prometheus.targets": expected_targets,
        "prometheus.requests-total": lambda client: requests_total(client, *asked, timeout=timeout),
        "prometheus.code-200": lambda client: code_200(client, *asked, timeout=timeout),
        "prometheus.sleep-to-productpage": lambda client: sleep_to_productpage(
            client, namespace, EDGES[0], sending, timeout=timeout
        ),
    }


def read_sidecars(kube: Kube, namespace: str) -> Snapshot:
    """Read what the sidecars of sleep and productpage have counted, once nothing moves.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.

    Returns:
        The counts.

    Raises:
        KubeError: A sidecar can't be reached.
        WaitTimeout: The counters go on moving.
    """
    with SidecarReader(kube, namespace) as reader:
        return take_snapshot(kube, reader, namespace)


def reconciled(
    kube: Kube, config: LabConfig, before: Snapshot, sent: Sequence[TrafficResult | RoundResult]
) -> CheckResult:
    """Check prometheus.reconcile: what was counted since `before` is what was sent.

    A window in which a pod or a listener was replaced is void; a second one of a few requests is made then, once.

    Args:
        kube: Client of the cluster.
        config: The settings.
        before: What had been counted before the load.
        sent: What the load has sent.

    Returns:
        The check.

    Raises:
        KubeError: A sidecar can't be reached.
        QueryError: Prometheus does not answer.
    """

    def second() -> CheckResult:
        begin = read_sidecars(kube, config.namespace)
        return _window(kube, config, begin, [ask_productpage(kube, config.namespace, SECOND_WINDOW)])

    return once_more(_window(kube, config, before, sent), second)


def _window(
    kube: Kube, config: LabConfig, before: Snapshot, sent: Sequence[TrafficResult | RoundResult]
) -> CheckResult:
    after, timeout = read_sidecars(kube, config.namespace), config.prometheus.answer_timeout
    with PROMETHEUS.open(kube, config) as client:
        scraped = take_scraped(client, after, config.namespace, before=before, timeout=timeout)
    return reconcile(before, after, sent, scraped)
