"""What the document shows in a browser: dashboards, traces and the graph. The run reads and draws them itself."""

from __future__ import annotations

from functools import partial

from meshlab.checks import live_views
from meshlab.checks.present import metrics, scraped_within, scraping_of
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.attempt import attempt, given
from meshlab.core.errors import MeshlabError
from meshlab.core.patience import patience_of
from meshlab.istio.distribution import Distribution
from meshlab.lifecycle.context import kube_of, mesh_of
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.whereabouts import whereabouts
from meshlab.observability.graph.metrics import Baseline, take_baseline
from meshlab.run.journal import RunRef, record_facts
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info, make_checks
from tasks.images import pulled_before
from tasks.resume import checks_passed, prometheus_told


@lab_task("begin-phase", verify=prometheus_told, depends_on_pods=True)
def begin_phase(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Baseline | None:
    """Read what Prometheus has counted before the load phase.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        The counters; None where Prometheus can't be asked, which the graph's checks will tell.
    """
    try:
        with metrics(run, kube_of(cluster), config) as client, scraped_within(run, config) as timeout:
            return take_baseline(
                client,
                config.namespace,
                scraping=scraping_of(run, config),
                timeout=timeout,
                clock=patience_of(run.run_id).clock,
            )
    except MeshlabError as problem:
        log_info(f"Prometheus can't be asked: {problem.message}")
        return None


@lab_task("check-dashboards", verify=checks_passed, depends_on_pods=True)
def check_dashboards(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> list[CheckResult]:
    """Make grafana.mesh, .service, .workload and .all-panels: all queries of all of Istio's dashboards, under load.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        The checks.
    """
    kube = kube_of(cluster)
    examined = attempt(
        lambda: live_views.examine_shipped(run, kube, config, distribution, mesh_of(run, cluster))
    )
    judges = live_views.dashboard_checks(config, distribution)

    def judged(name: str) -> CheckResult:
        return judges[name](given(examined))

    return make_checks(run, {name: partial(judged, name) for name in judges})


@lab_task("check-traces", verify=checks_passed, depends_on_pods=True)
def check_traces(
    run: RunRef, config: LabConfig, cluster: ClusterRef, phase: Baseline | None = None
) -> CheckResult:
    """Make jaeger.productpage-traces: the span tree of productpage's traces reaches details, reviews and ratings.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        phase: Only traces since that load phase began count; without one, those of the last hour.

    Returns:
        The check.
    """
    since, kube, mesh = phase.at if phase else None, kube_of(cluster), mesh_of(run, cluster)
    # Now all addons of this run are there, too.
    record_facts(run, mesh={**mesh.as_json(), "observability": whereabouts(kube, config)})
    judge = partial(live_views.traced_productpage, run, kube, config, mesh, since)
    return make_checks(run, {"jaeger.productpage-traces": judge})[0]


@lab_task("check-graph", verify=checks_passed, depends_on_pods=True)
def check_graph(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution, baseline: Baseline | None
) -> list[CheckResult]:
    """Make graph.edges, kiali.graph and graph.agreement.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.
        baseline: What Prometheus had counted before the load phase; None where it could not be asked.

    Returns:
        The checks.
    """
    kube = kube_of(cluster)
    why_no_kiali = KIALI.why_not(config, distribution, kube, (*pulled_before(run), *cluster.images))
    graph = live_views.GraphChecks(run, kube, config, mesh_of(run, cluster), baseline, why_no_kiali)
    return make_checks(
        run,
        {"graph.edges": graph.edges, "kiali.graph": graph.kiali_graph, "graph.agreement": graph.agreement},
    )
