"""What is counted: the document's queries to Prometheus, and whether its counts are what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from meshlab.app.loop import TrafficResult
from meshlab.checks import live_queries
from meshlab.checks.live_queries import ask_prometheus
from meshlab.checks.present import scraping_of
from meshlab.checks.prometheus import Sending
from meshlab.checks.rates import rate_5m
from meshlab.checks.snapshot import Snapshot
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.patience import patience_of
from meshlab.lifecycle.context import kube_of, mesh_of
from meshlab.observability.addons.query import PrometheusClient
from meshlab.run.journal import RunRef
from meshlab.run.results import CheckResult
from tasks.common import lab_task, make_checks
from tasks.resume import any_value, checks_passed
from tasks.traffic import sent_so_far


@lab_task("count-requests", verify=any_value, depends_on_pods=True)
def count_requests(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Snapshot:
    """Read what the sidecars of sleep and productpage have counted by now, once nothing moves.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        The counts.
    """
    return live_queries.read_sidecars(kube_of(cluster), mesh_of(run, cluster))


@lab_task("check-prometheus", verify=checks_passed, depends_on_pods=True)
def check_prometheus(
    run: RunRef, config: LabConfig, cluster: ClusterRef, before: Snapshot
) -> list[CheckResult]:
    """Make prometheus.targets and the document's first three queries, at the same time, while load flows.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        before: What the sidecars had counted before the load.

    Returns:
        The checks.
    """
    kube = kube_of(cluster)
    sending = Sending(sent=lambda: sent_so_far(run), baseline=before.totals())
    checks = live_queries.document_queries(run, kube, config, mesh_of(run, cluster), sending)
    return ask_prometheus(run, kube, config, checks)


@lab_task("check-rate", verify=checks_passed, depends_on_pods=True)
def check_rate(run: RunRef, config: LabConfig, cluster: ClusterRef) -> list[CheckResult]:
    """Make prometheus.rate-5m, the document's fourth query, while the gentle load flows.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        The check.
    """
    asked_rate = 2 / sum(config.traffic.gentle_interval)

    def check(client: PrometheusClient, timeout: float) -> CheckResult:
        clock, kept = patience_of(run.run_id).clock, scraping_of(run, config).reporters
        return rate_5m(client, asked_rate=asked_rate, reporters=kept, timeout=timeout, clock=clock)

    return ask_prometheus(run, kube_of(cluster), config, {"prometheus.rate-5m": check})


@lab_task("reconcile", verify=checks_passed, depends_on_pods=True)
def reconcile_requests(
    run: RunRef, config: LabConfig, cluster: ClusterRef, before: Snapshot, sent: Sequence[TrafficResult]
) -> CheckResult:
    """Make prometheus.reconcile: with the load drained, what the sidecars counted since `before` is what was sent.

    Load that ended before `before` was taken (by a run that was cut off, and goes on) is not counted.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        before: What the sidecars had counted before the load.
        sent: What each loop has sent.

    Returns:
        The check.
    """
    kube, mesh = kube_of(cluster), mesh_of(run, cluster)
    counted = [load for load in sent if load.first is None or load.first.timestamp() >= before.taken]
    judge = partial(live_queries.reconciled, run, kube, config, mesh, before, counted)
    return make_checks(run, {"prometheus.reconcile": judge})[0]
