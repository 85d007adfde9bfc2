"""The service graph: Bookinfo's edges from metrics, traces and Kiali, and whether they agree."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from meshlab.app import bookinfo
from meshlab.app.traffic_clients import INGRESS, TCP_ECHO
from meshlab.checks import graph as graph_checks
from meshlab.checks.base import skipped
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import kube_of
from meshlab.observability.addons import kiali
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.graph.metrics import Baseline, MetricGraph, wait_for_edges
from meshlab.observability.graph.traces import wait_for_traced_edges
from meshlab.report.material import ServiceGraph
from meshlab.run.journal import RunRef
from meshlab.run.results import CheckResult
from tasks.common import lab_task, make_checks
from tasks.dashboards_and_traces import gather, material_of
from tasks.resume import checks_passed

# Caller and called workload of the mixed traffic: from a pod without a sidecar, through the gateway, to the echo.
BESIDE = frozenset(
    [
        *(
            ("unknown", w.name)
            for w in (
                bookinfo.PRODUCTPAGE,
                bookinfo.REVIEWS_V1,
                bookinfo.REVIEWS_V2,
                bookinfo.REVIEWS_V3,
                TCP_ECHO,
            )
        ),
        (INGRESS, bookinfo.PRODUCTPAGE.name),
        (bookinfo.SLEEPER.name, TCP_ECHO.name),
        (bookinfo.SLEEPER.name, "prometheus"),
    ]
)
KIALI_SECONDS = 60.0  # least time that its graph covers: its rates need a few scrapes


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
    look = _Graph(run, config, kube, baseline, KIALI.why_not(config, distribution, kube, cluster.images))
    # The agreement comes last: it compares with Kiali's graph, too, where that was read.
    return make_checks(
        run, {"graph.edges": look.edges, "kiali.graph": look.kiali_graph, "graph.agreement": look.agreement}
    )


@dataclass
class _Graph:
    """Reads the graph from each source, and judges it.

    Attributes:
        why_no_kiali: Why Kiali can't run here; "" where it can.
        read: The graph from metrics, once it was read.
        seen: Kiali's graph, once it was read.
    """

    run: RunRef
    config: LabConfig
    kube: Kube
    baseline: Baseline | None
    why_no_kiali: str
    read: MetricGraph | None = None
    seen: ServiceGraph | None = None
    expected: tuple[graph_checks.Edge, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.expected = graph_checks.expected_edges(bookinfo.EDGES, self.config.namespace)

    @property
    def timeout(self) -> float:
        return self.config.prometheus.answer_timeout

    def edges(self) -> CheckResult:
        if self.baseline is None:
            raise MeshlabError(
                "Prometheus could not be asked when the load phase began",
                remedy="the log of the step begin-phase tells why: see whether Prometheus's pod is Ready",
            )
        with PROMETHEUS.open(self.kube, self.config) as client:
            self.read = wait_for_edges(client, self.baseline, self.expected, timeout=self.timeout)
        gather(self.run, graphs=(self.read.drawn(),))
        return graph_checks.edges(self.read, self.expected, others=beside(self.read))

    def kiali_graph(self) -> CheckResult:
        if self.why_no_kiali:
            return skipped("kiali.graph", self.why_no_kiali)
        begun = time.time() if self.baseline is None else self.baseline.at
        since = max(time.time() - begun, KIALI_SECONDS)
        with KIALI.open(self.kube, self.config) as client:
            KIALI.wait_answering(client, timeout=self.timeout)
            self.seen = kiali.wait_for_edges(
                client, self.config.namespace, self.expected, seconds=since, timeout=self.timeout
            )
            gather(self.run, graphs=(*material_of(self.run).graphs, self.seen))
            return graph_checks.kiali_graph(self.seen, client.version(), self.expected)

    def agreement(self) -> CheckResult:
        if self.read is None or self.baseline is None:
            raise MeshlabError(
                "there is no graph from metrics to compare with: see graph.edges",
                remedy="mend what kept graph.edges from being made",
            )
        with JAEGER.open(self.kube, self.config) as client:
            traces = wait_for_traced_edges(
                client, self.config.namespace, self.expected, since=self.baseline.at, timeout=self.timeout
            )
        gather(self.run, graphs=(*material_of(self.run).graphs, traces.drawn()))
        reason = self.why_no_kiali or "see kiali.graph"
        return graph_checks.agreement(self.read, traces, kiali=self.seen, kiali_reason=reason)


def beside(graph: MetricGraph) -> Sequence[graph_checks.Edge]:
    """List edges of the traffic that the run sends beside the application's: they may be there, any other is extra."""
    return [
        (edge.source.key, edge.target.key)
        for edge in graph.edges
        if (edge.source.workload, edge.target.workload) in BESIDE
    ]
