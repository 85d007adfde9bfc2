"""What the document looks at in a browser: dashboards, traces, the graph. Looked at by the run itself, and drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from meshlab.checks import grafana as grafana_checks
from meshlab.checks.base import run_check
from meshlab.checks.traces import productpage_traces, search_traces
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.core.registry import instance
from meshlab.istio.distribution import Distribution
from meshlab.lifecycle.context import kube_of
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.dashboards.drawing import drawings
from meshlab.observability.dashboards.examine import drawn_again, examine
from meshlab.observability.dashboards.expected import read_expectations
from meshlab.observability.dashboards.read import read_dashboards, scrape_interval
from meshlab.observability.dashboards.results import Examination
from meshlab.observability.dashboards.sources import source_of
from meshlab.observability.graph.metrics import Baseline, take_baseline
from meshlab.report.material import ReportMaterial
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.resume import checks_passed, prometheus_told


class _Gathered:
    """What one run has gathered for its report; tasks add to it side by side."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.material = ReportMaterial()


def material_of(run: RunRef) -> ReportMaterial:
    """What the run has gathered for its report beside `result.json`."""
    return instance(_Gathered, run.run_id).material


def gather(run: RunRef, **parts: Any) -> None:
    """Keep something for the report: dashboards, traces, graphs or pods (see ReportMaterial)."""
    gathered = instance(_Gathered, run.run_id)
    with gathered.lock:
        gathered.material = replace(gathered.material, **parts)


@lab_task("begin-phase", verify=prometheus_told, depends_on_pods=True)
def begin_phase(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Baseline | None:
    """What Prometheus has counted before the load phase; None when it can't be asked, which the graph's checks will tell."""
    try:
        with PROMETHEUS.open(kube_of(cluster), config) as client:
            return take_baseline(client, config.namespace, timeout=config.prometheus.answer_timeout)
    except MeshlabError as problem:
        log_info(f"Prometheus can't be asked: {problem.message}")
        return None


@lab_task("check-dashboards", verify=checks_passed, depends_on_pods=True)
def check_dashboards(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> list[CheckResult]:
    """grafana.mesh, .service, .workload, .all-panels: every query of every dashboard that Istio ships, under load."""
    checks: dict[str, Callable[[Examination], CheckResult]] = {
        name: lambda e, name=name: grafana_checks.dashboard(name, e)  # type: ignore[misc]
        for name in ("grafana.mesh", "grafana.service", "grafana.workload")
    }
    expectations = read_expectations(distribution.kind, config.namespace, scope=config.scope)
    least = grafana_checks.LEAST_WITH_DATA if distribution.ours and config.scope == "mesh" else 1
    checks["grafana.all-panels"] = lambda e: grafana_checks.all_panels(
        e, least=least, pinned=distribution.ours
    )
    examined: Examination | MeshlabError
    try:
        with source_of(kube_of(cluster), config) as source:
            examined = examine(
                source,
                read_dashboards(distribution.samples),
                expectations,
                scrape_seconds=scrape_interval(distribution.samples),
                timeout=config.prometheus.answer_timeout,
            )
            gather(run, dashboards=drawings(drawn_again(examined, source)))
    except MeshlabError as problem:
        examined = problem

    def made(judge: Callable[[Examination], CheckResult]) -> CheckResult:
        if isinstance(examined, MeshlabError):
            raise examined
        return judge(examined)

    return [record_check(run, run_check(name, made, judge)) for name, judge in checks.items()]


@lab_task("check-traces", verify=checks_passed, depends_on_pods=True)
def check_traces(
    run: RunRef, config: LabConfig, cluster: ClusterRef, phase: Baseline | None = None
) -> CheckResult:
    """jaeger.productpage-traces: the span tree of productpage's traces reaches details, reviews and ratings.

    phase: only traces since that load phase began count; without one, those of the last hour.
    """

    def traced() -> CheckResult:
        with JAEGER.open(kube_of(cluster), config) as client:
            search = search_traces(
                client,
                config.namespace,
                start=phase.at if phase else None,
                timeout=config.prometheus.answer_timeout,
            )
        gather(run, traces=search.shown)
        return productpage_traces(search)

    return record_check(run, run_check("jaeger.productpage-traces", traced))
