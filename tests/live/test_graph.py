"""What the graph's and the traces' checks say when something is taken away from a living mesh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshlab.app import bookinfo
from meshlab.app.loop import RequestLoop
from meshlab.app.source import find_source
from meshlab.checks import graph as graph_checks
from meshlab.checks import traces as trace_checks
from meshlab.checks.base import run_check
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.waiting import wait
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.jaeger_client import JaegerClient
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.query import PrometheusClient
from meshlab.observability.graph import metrics as graph
from meshlab.observability.graph import traces as graph_traces
from meshlab.run.results import CheckResult, Verdict
from tests.live.conftest import NAME, Ran

pytestmark = pytest.mark.live
NAMESPACE, SYSTEM = "default", "istio-system"
PAGE = f"{bookinfo.PRODUCTPAGE.app}:{bookinfo.PORT}{bookinfo.PAGE_PATH}"
EXPECTED = graph_checks.expected_edges(bookinfo.EDGES, NAMESPACE)
DEADLINE = 25.0  # seconds for a check that can't pass


@pytest.fixture
def kube(kept_lab: Ran, machine: Machine) -> Kube:
    return Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)


def scale(kube: Kube, namespace: str, name: str, replicas: int) -> None:
    kube.patch("apps/v1", "Deployment", name, {"spec": {"replicas": replicas}}, namespace)


@contextmanager
def without(kube: Kube, namespace: str, *names: str) -> Iterator[None]:
    """The Deployments have no pod inside, and are Ready again after."""
    selectors = {
        name: kube.get("apps/v1", "Deployment", name, namespace)["spec"]["selector"]["matchLabels"]  # type: ignore[index]
        for name in names
    }
    try:
        for name, labels in selectors.items():
            scale(kube, namespace, name, 0)
            selector = ",".join(f"{key}={value}" for key, value in labels.items())
            wait(
                f"no pod of {name}",
                lambda selector=selector: kube.pods(namespace, selector),  # type: ignore[misc]
                ready=lambda pods: not pods,
                timeout=60,
            )
        yield
    finally:
        for name in names:
            scale(kube, namespace, name, 1)
        wait_deployments(kube, namespace, list(names), timeout=120)


def test_the_lost_edges_of_a_deleted_workload_are_named(kube: Kube) -> None:
    """Its old counters are still there, in its caller's proxy and in Prometheus; they must not count."""
    with (
        without(kube, NAMESPACE, bookinfo.REVIEWS_V2.name),
        PROMETHEUS.open(kube, LabConfig()) as client,
    ):
        baseline = graph.take_baseline(client, NAMESPACE)
        with RequestLoop(kube, find_source(kube, NAMESPACE), PAGE, interval=0.3):
            found = graph.wait_for_edges(client, baseline, EXPECTED, timeout=DEADLINE)
        lost = graph_checks.edges(found, EXPECTED)
    assert lost.verdict is Verdict.FAIL
    assert lost.evidence["lost"] == ["productpage-v1 → reviews-v2", "reviews-v2 → ratings-v1"]
    assert lost.evidence["extra"] == []


def test_checks_end_with_the_cause_when_the_addons_are_gone(kube: Kube) -> None:
    with (
        PROMETHEUS.open(kube, LabConfig()) as client,
        JAEGER.open(kube, LabConfig()) as asked,
    ):
        baseline = graph.take_baseline(client, NAMESPACE)
        with without(kube, SYSTEM, "jaeger", "prometheus"):
            made = made_checks(client, asked, baseline)
    for check in made:
        assert check.verdict is Verdict.INFRA_ERROR, check.summary
        assert "is Ready (0 in all)" in str(check.reason)
        assert check.seconds < 3 * DEADLINE, "no hang past the deadline"


def made_checks(client: PrometheusClient, asked: JaegerClient, baseline: graph.Baseline) -> list[CheckResult]:
    def edges() -> CheckResult:
        found = graph.wait_for_edges(client, baseline, EXPECTED, timeout=5)
        return graph_checks.edges(found, EXPECTED)

    def agreement() -> CheckResult:
        traced = graph_traces.wait_for_traced_edges(asked, NAMESPACE, EXPECTED, since=baseline.at, timeout=5)
        return graph_checks.agreement(graph.read_graph(client, baseline), traced)

    def traces() -> CheckResult:
        return trace_checks.productpage_traces(trace_checks.search_traces(asked, NAMESPACE, timeout=5))

    return [
        run_check("graph.edges", edges),
        run_check("graph.agreement", agreement),
        run_check("jaeger.productpage-traces", traces),
    ]
