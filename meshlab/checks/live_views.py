"""Read dashboards, traces and service graphs of the live mesh, and have the checks judge them. All are kept to be drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from meshlab.app import bookinfo
from meshlab.app.traffic_clients import INGRESS, TCP_ECHO
from meshlab.checks import grafana as grafana_checks
from meshlab.checks import graph as graph_checks
from meshlab.checks.base import skipped
from meshlab.checks.present import answer_timeout, metrics, scraping_of, traces
from meshlab.checks.traces import productpage_traces, search_traces
from meshlab.config.settings import LabConfig
from meshlab.core.access import access_of
from meshlab.core.errors import MeshlabError, ShutOutError
from meshlab.core.patience import patience_of
from meshlab.istio.distribution import Distribution
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.observability.addons import kiali
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.whereabouts import called
from meshlab.observability.dashboards.drawing import drawings
from meshlab.observability.dashboards.examine import drawn_again, examine
from meshlab.observability.dashboards.expected import read_expectations
from meshlab.observability.dashboards.read import read_dashboards, scrape_interval
from meshlab.observability.dashboards.results import Examination
from meshlab.observability.dashboards.sources import source_of
from meshlab.observability.graph.edges import UNKNOWN, Edge
from meshlab.observability.graph.metrics import Baseline, MetricGraph, wait_for_edges
from meshlab.observability.graph.traces import wait_for_traced_edges
from meshlab.report.gathered import gather
from meshlab.report.material import ServiceGraph
from meshlab.run.journal import RunRef
from meshlab.run.results import CheckResult
from meshlab.security.audit.workloads import workload_of

# Caller and called workload of the background traffic: from a pod without a sidecar, through the gateway, to the echo.
CALLED_FROM_OUTSIDE = (
    bookinfo.PRODUCTPAGE,
    bookinfo.REVIEWS_V1,
    bookinfo.REVIEWS_V2,
    bookinfo.REVIEWS_V3,
    TCP_ECHO,
)
BACKGROUND = {
    *(("unknown", workload.name) for workload in CALLED_FROM_OUTSIDE),
    (INGRESS, bookinfo.PRODUCTPAGE.name),
    (bookinfo.SLEEPER.name, TCP_ECHO.name),
}
KIALI_SECONDS = 60.0  # least time that its graph covers: its rates need a few scrapes


def dashboard_checks(
    config: LabConfig, distribution: Distribution
) -> dict[str, Callable[[Examination], CheckResult]]:
    """List the checks of Istio's dashboards, each with what judges the examination.

    Args:
        config: The settings.
        distribution: What its dashboards must show is known where it is ours.

    Returns:
        Check id → judge.
    """
    least = grafana_checks.LEAST_WITH_DATA if distribution.embedded and config.scope == "mesh" else 1
    pinned = distribution.embedded
    return {
        "grafana.mesh": lambda found: grafana_checks.dashboard("grafana.mesh", found),
        "grafana.service": lambda found: grafana_checks.dashboard("grafana.service", found),
        "grafana.workload": lambda found: grafana_checks.dashboard("grafana.workload", found),
        "grafana.all-panels": lambda found: grafana_checks.all_panels(found, least=least, pinned=pinned),
    }


def examine_shipped(
    run: RunRef, kube: Kube, config: LabConfig, distribution: Distribution, mesh: Mesh
) -> Examination:
    """Ask every query of every dashboard that Istio ships, and keep the dashboards to be drawn.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.
        distribution: Its dashboards are read.
        mesh: The facts of the mesh.

    Returns:
        What became of each query.

    Raises:
        MeshlabError: Neither Grafana nor Prometheus can be asked, or a dashboard can't be understood.
    """
    expectations = read_expectations(
        distribution.kind, config.namespace, domain=mesh.cluster_domain, scope=config.scope, ours=config.ours
    )
    patience = patience_of(run.run_id)
    interval = scrape_interval(distribution.samples)
    with source_of(kube, config, patience, lambda: metrics(run, kube, config)) as source:
        if not config.ours:
            interval = max(interval, scraping_of(run, config).seconds)
        with patience.awaiting(answer_timeout(run, config)) as timeout:
            examined = examine(
                source,
                read_dashboards(distribution.samples),
                expectations,
                scrape_seconds=interval,
                timeout=timeout,
                reporters=scraping_of(run, config).reporters,
                clock=patience.clock,
            )
        gather(run, dashboards=drawings(drawn_again(examined, source)))
        return examined


def traced_productpage(
    run: RunRef, kube: Kube, config: LabConfig, mesh: Mesh, since: float | None
) -> CheckResult:
    """Check jaeger.productpage-traces, and keep the traces to be drawn.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.
        mesh: The facts of the mesh.
        since: Only traces from then on count, in seconds since the epoch; those of the last hour where None.

    Returns:
        The check.

    Raises:
        QueryError: Jaeger does not answer.
        KubeError: There is no Jaeger.
    """
    with traces(kube, config, mesh) as client, traced_within(run, config) as timeout:
        clock = patience_of(run.run_id).clock
        search = search_traces(client, config.namespace, start=since, timeout=timeout, clock=clock)
    gather(run, traces=search.shown)
    return productpage_traces(search)


@contextmanager
def traced_within(run: RunRef, config: LabConfig) -> Iterator[float]:
    """Give a wait for spans its time of the run's.

    Args:
        run: The run.
        config: The settings.

    Yields:
        Seconds. Where the run itself has put Jaeger there, that may have been after the load began: its time begins
        with the first of these waits then.
    """
    patience = patience_of(run.run_id)
    since = patience.first("traces") if config.scope == "mesh" else None
    with patience.awaiting(config.prometheus.answer_timeout, since=since) as seconds:
        yield seconds


class GraphChecks:
    """The checks of the service graph, to be made in their order: the last compares what the others have read.

    mesh: its facts. baseline: what Prometheus had counted before the load phase; None where it could not be asked.
    why_no_kiali: why Kiali can't be asked, "" where it can. The methods raise MeshlabError.
    """

    def __init__(
        self,
        run: RunRef,
        kube: Kube,
        config: LabConfig,
        mesh: Mesh,
        baseline: Baseline | None,
        why_no_kiali: str,
    ) -> None:
        self._run, self._kube, self._config, self._mesh = run, kube, config, mesh
        self._baseline, self._why_no_kiali = baseline, why_no_kiali
        self._patience, self._timeout = patience_of(run.run_id), answer_timeout(run, config)
        self._expected = graph_checks.expected_edges(bookinfo.EDGES, config.namespace)
        self._metrics: MetricGraph | None = None
        self._kiali: ServiceGraph | None = None
        self._drawn: tuple[ServiceGraph, ...] = ()

    def edges(self) -> CheckResult:
        """Check graph.edges: those of the application were counted since the load phase began."""
        if self._baseline is None:
            self._need_metrics()
            raise MeshlabError(
                "Prometheus could not be asked when the load phase began",
                remedy="the log of the step begin-phase tells why: see whether Prometheus's pod is Ready",
            )
        with (
            metrics(self._run, self._kube, self._config) as client,
            self._patience.awaiting(self._timeout) as timeout,
        ):
            scraping = scraping_of(self._run, self._config)
            found = wait_for_edges(
                client,
                self._baseline,
                self._expected,
                scraping=scraping,
                timeout=timeout,
                clock=self._patience.clock,
            )
        self._metrics = found
        self._draw(found.drawn())
        others = background_edges(found, prometheus_workloads(self._kube, self._config))
        return graph_checks.edges(found, self._expected, others=others, reporters=scraping.reporters)

    def kiali_graph(self) -> CheckResult:
        """Check kiali.graph; it is skipped where there is no Kiali."""
        if self._why_no_kiali:
            return skipped("kiali.graph", self._why_no_kiali)
        with KIALI.open(self._kube, self._config) as client:
            try:
                with self._patience.awaiting(self._timeout) as timeout:
                    KIALI.wait_answering(client, timeout=timeout, clock=self._patience.clock)
            except ShutOutError as problem:
                if self._config.ours or access_of(KIALI.name).kind != "none":
                    raise
                return skipped("kiali.graph", problem.message, remedy=problem.remedy)
            since = 0.0 if self._baseline is None else time.time() - self._baseline.at
            with self._patience.awaiting(self._timeout) as timeout:
                graph = kiali.wait_for_edges(
                    client,
                    self._config.namespace,
                    self._expected,
                    seconds=max(since, KIALI_SECONDS),
                    timeout=timeout,
                    clock=self._patience.clock,
                )
            self._kiali = graph
            self._draw(graph)
            return graph_checks.kiali_graph(graph, client.version(), self._expected)

    def agreement(self) -> CheckResult:
        """Check graph.agreement: metrics, traces, and Kiali where it was read, tell the same graph."""
        if not self._config.ours:
            with traces(self._kube, self._config, self._mesh):
                pass  # what the mesh does not have is said first
        if self._metrics is None or self._baseline is None:
            self._need_metrics()
            raise MeshlabError(
                "there is no graph from metrics to compare with: see graph.edges",
                remedy="mend what kept graph.edges from being made",
            )
        with (
            traces(self._kube, self._config, self._mesh) as client,
            traced_within(self._run, self._config) as timeout,
        ):
            traced = wait_for_traced_edges(
                client,
                self._config.namespace,
                self._expected,
                since=self._baseline.at,
                timeout=timeout,
                clock=self._patience.clock,
            )
        self._draw(traced.drawn())
        reason = self._why_no_kiali or "see kiali.graph"
        return graph_checks.agreement(self._metrics, traced, kiali=self._kiali, kiali_reason=reason)

    def _need_metrics(self) -> None:
        """Raise NotHereError where a mesh of somebody else has no metrics of ours: nothing is wrong then."""
        if not self._config.ours:
            with metrics(self._run, self._kube, self._config):
                pass

    def _draw(self, graph: ServiceGraph) -> None:
        self._drawn += (graph,)
        gather(self._run, graphs=self._drawn)


def background_edges(graph: MetricGraph, prometheus: Collection[str]) -> list[Edge]:
    """Edges of the run's other traffic: they may be there, any other is extra.

    Args:
        graph: What was counted.
        prometheus: Workloads as which the Prometheus that sleep calls is counted.

    Returns:
        Those edges that are there.
    """
    known = BACKGROUND | {(bookinfo.SLEEPER.name, workload) for workload in prometheus}
    return [
        (edge.source.key, edge.target.key)
        for edge in graph.edges
        if (edge.source.workload, edge.target.workload) in known
    ]


def prometheus_workloads(kube: Kube, config: LabConfig) -> set[str]:
    """Name the workloads as which sidecars count the Prometheus that sleep calls.

    Behind a headless Service no workload is known to a proxy: it passes the call on to the address that it was made to.

    Args:
        kube: Client of the cluster.
        config: The settings.

    Returns:
        Their names; none where sleep calls no Prometheus.

    Raises:
        KubeError: The API server does not answer.
    """
    server = called(kube, config)
    service = kube.get("v1", "Service", server.service, server.namespace) if server else None
    if server is None or service is None:
        return set()
    selector = ",".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())
    pods = kube.objects("v1", "Pod", server.namespace, selector=selector) if selector else ()
    headless = service["spec"].get("clusterIP") == "None"
    return {workload_of(pod).rpartition("/")[2] for pod in pods} | ({UNKNOWN} if headless else set())
