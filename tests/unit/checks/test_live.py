"""What is read of the live mesh for the checks: one failure to read does not hide the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from meshlab.checks.base import passed
from meshlab.checks.live_mesh import images_of, lab_pods
from meshlab.checks.live_queries import ask_prometheus, document_queries, looks_like_addon
from meshlab.checks.live_views import (
    GraphChecks,
    background_edges,
    dashboard_checks,
    prometheus_workloads,
)
from meshlab.checks.prometheus import Sending
from meshlab.config.settings import LabConfig
from meshlab.core.attempt import attempt, given
from meshlab.core.errors import KubeError, QueryError
from meshlab.core.patience import patience_of
from meshlab.istio.mesh import Mesh
from meshlab.observability.addons.query import PrometheusClient, Target
from meshlab.observability.addons.scraping import job_names
from meshlab.observability.graph.metrics import EdgeCount, MetricGraph
from meshlab.report.material import GraphNode
from meshlab.run.journal import create, read_journal
from meshlab.run.results import CheckResult, Verdict
from tasks.common import make_checks
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod
from tests.fakes.prometheus import FakePrometheus

CONFIG = LabConfig(cluster="existing")


def refuse(*_: object) -> CheckResult:
    raise KubeError("no answer", remedy="look")


def test_checks_are_recorded_in_their_order_whatever_becomes_of_them(tmp_path: Path) -> None:
    run = create(tmp_path, "full-lab")
    checks = make_checks(run, {"istio.cli": refuse, "graph.edges": lambda: passed("graph.edges", "5 edges")})
    assert [check.verdict for check in checks] == [Verdict.INFRA_ERROR, Verdict.PASS]
    assert checks[0].remedy == "look"
    written = [event["id"] for event in read_journal(run) if event["event"] == "check"]
    assert written == ["istio.cli", "graph.edges"]


def test_what_could_not_be_read_fails_each_of_its_checks(tmp_path: Path) -> None:
    run, found = create(tmp_path, "full-lab"), attempt(refuse)
    checks = make_checks(
        run,
        {name: lambda: given(found) for name in ("grafana.mesh", "grafana.service")},
    )
    assert [(check.id, check.verdict, check.remedy) for check in checks] == [
        ("grafana.mesh", Verdict.INFRA_ERROR, "look"),
        ("grafana.service", Verdict.INFRA_ERROR, "look"),
    ]


def test_without_a_prometheus_each_of_its_checks_says_so(tmp_path: Path) -> None:
    run, kube = create(tmp_path, "full-lab"), FakeKube()
    wanted = {name: refuse for name in ("prometheus.targets", "prometheus.code-200")}
    for config, verdict in ((LabConfig(), Verdict.INFRA_ERROR), (CONFIG, Verdict.SKIPPED)):
        checks = ask_prometheus(run, kube, config, wanted)  # type: ignore[arg-type]
        assert [check.id for check in checks] == list(wanted)
        assert [check.verdict for check in checks] == [verdict] * 2
        assert all("no answer" not in check.summary for check in checks)


class Told(PrometheusClient):
    """Says its configuration; None where it tells nobody."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def configuration(self) -> str:
        if self.text is None:
            raise QueryError("404", remedy="")
        return self.text


def jobs(*names: str) -> str:
    return yaml.safe_dump({"scrape_configs": [{"job_name": name} for name in names]})


NODES = ("kubernetes-nodes", "kubernetes-nodes-cadvisor")
OTHERS = jobs("prometheus", "envoy-stats")
HIDDEN = (None, "", "null", "{}", "a: [", "no mapping", "scrape_configs: [text]", "scrape_configs: 3")


@pytest.mark.parametrize("text", HIDDEN)
def test_a_configuration_that_cannot_be_read_is_told_from_one_without_jobs(text: str | None) -> None:
    assert job_names(Told(text)) is None
    assert job_names(Told("global: {}")) == frozenset()  # scrape_config_files, which the addon has not
    assert job_names(Told(OTHERS)) == {"prometheus", "envoy-stats"}


def test_a_prometheus_is_the_addon_unless_its_jobs_are_quite_different_ones() -> None:
    own = "prometheus"
    assert looks_like_addon({own, "kubernetes-api-servers", *NODES, "more"})
    assert looks_like_addon({"kubernetes-apiservers"})  # an older release of it, all but one job gone
    assert looks_like_addon({own, *NODES}) and looks_like_addon({own, NODES[1], "kubernetes-apiservers"})
    assert looks_like_addon(None)
    for other in ({own, "envoy-stats"}, {own}, set()):
        assert not looks_like_addon(other)


@pytest.mark.parametrize(
    ("config", "text", "verdict"),
    [
        (CONFIG, OTHERS, Verdict.PASS),
        (CONFIG, jobs("prometheus", "kubernetes-apiservers", NODES[1], "envoy-stats"), Verdict.FAIL),
        *((CONFIG, hidden, Verdict.FAIL) for hidden in HIDDEN),
        (LabConfig(app={"namespace": "meshlab"}), OTHERS, Verdict.FAIL),
    ],
)
def test_jobs_of_the_addon_are_asked_for_where_it_is_the_addon(
    config: LabConfig, text: str | None, verdict: Verdict, tmp_path: Path
) -> None:
    """Somebody's Deployment and Service `prometheus` in istio-system, with jobs of their own, scrapes what they want.

    On a lab of ours that is a fault, and so is one job that the addon lacks, wherever it is; where the jobs can't be read
    nobody is let off.
    """
    meta = {"name": "prometheus", "namespace": "istio-system"}
    ports = {"ports": [{"port": 9090}]}
    kube = FakeKube(
        [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta},
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}},
            make_pod("sleep-1", namespace="meshlab"),
        ]
    )
    clock = FakeClock()

    class Scraping(FakePrometheus):
        def targets(self) -> list[Target]:
            last = self.time - self.time % self.interval
            return [Target("envoy-stats", "10.0.0.1", "sleep-1", "meshlab", "up", "", last, "http://sleep-1")]

        def configuration(self) -> str:
            return Told(text).configuration()

    run, mesh = create(tmp_path, "full-lab"), Mesh("meshlab")
    patience = patience_of(run.run_id)
    patience.clock = clock
    sending = Sending(sent=dict, baseline={})
    ask = document_queries(run, kube, config, mesh, sending)["prometheus.targets"]  # type: ignore[arg-type]
    found = ask(Scraping(clock), 20)
    assert found.verdict is verdict, found.reason
    assert (verdict is Verdict.PASS) is ("kubernetes-nodes node-1" not in str(found.evidence.get("problems")))
    assert (verdict is Verdict.PASS) is (
        "jobs" in found.evidence.get("asked", {})
    )  # less is expected: it says so


def test_without_a_baseline_nothing_of_the_graph_is_compared(tmp_path: Path) -> None:
    run = create(tmp_path, "full-lab")
    graph = GraphChecks(run, FakeKube(), LabConfig(), Mesh("default"), None, "it is not here")  # type: ignore[arg-type]
    checks = make_checks(
        run,
        {"graph.edges": graph.edges, "kiali.graph": graph.kiali_graph, "graph.agreement": graph.agreement},
    )
    assert [check.verdict for check in checks] == [
        Verdict.INFRA_ERROR,
        Verdict.SKIPPED,
        Verdict.INFRA_ERROR,
    ]
    assert "begin-phase" in (checks[0].remedy or "") and "graph.edges" in (checks[2].reason or "")


def test_an_image_of_ours_is_told_from_others() -> None:
    kube = FakeKube()
    for name, image in (("page-5d-x", "localhost/page:1"), ("echo-5d-x", "registry.test/echo:1")):
        meta = {"name": name, "namespace": "meshlab"}
        containers = [{"name": "istio-proxy", "image": "p"}, {"name": "app", "image": image}]
        kube.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": containers}})
    found = images_of(lab_pods(kube, Mesh("meshlab")))  # type: ignore[arg-type]
    assert found == {
        "page": {"image": "localhost/page:1", "ours": True},
        "echo": {"image": "registry.test/echo:1", "ours": False},
    }


def test_the_dashboards_that_the_document_opens_and_all_of_them() -> None:
    class Ours:
        embedded = True

    assert list(dashboard_checks(CONFIG, Ours())) == [  # type: ignore[arg-type]
        "grafana.mesh",
        "grafana.service",
        "grafana.workload",
        "grafana.all-panels",
    ]


def test_sleeps_calls_of_prometheus_are_the_runs_own_whatever_its_workload_is_called() -> None:
    """Prometheus Operator makes a StatefulSet with a headless Service: proxies know no workload behind it."""
    meta = {
        "name": "prometheus-operated",
        "namespace": "monitoring",
        "labels": {"operated-prometheus": "true"},
    }
    spec = {"clusterIP": "None", "selector": {"app": "prometheus"}, "ports": [{"name": "web", "port": 9090}]}
    pod = make_pod("prometheus-k8s-0", namespace="monitoring", labels={"app": "prometheus"})
    pod["metadata"]["ownerReferences"] = [
        {"kind": "StatefulSet", "name": "prometheus-k8s", "controller": True}
    ]
    kube = FakeKube([pod, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}])
    service = {"service": "monitoring/prometheus-operated:9090"}
    config = LabConfig.model_validate({"cluster": "existing", "prometheus": service})
    workloads = prometheus_workloads(kube, config)  # type: ignore[arg-type]
    assert workloads == {"prometheus-k8s", "unknown"}
    called, elsewhere = ("", "unknown"), ("bank", "ledger")
    sleep = ("meshlab", "sleep")
    graph = MetricGraph("meshlab", 1.0, 20.0, tuple(counted(sleep, key) for key in (called, elsewhere)))
    assert background_edges(graph, workloads) == [(sleep, called)]
    assert background_edges(graph, {"prometheus-k8s"}) == []


def counted(source: tuple[str, str], target: tuple[str, str]) -> EdgeCount:
    ends = (GraphNode(workload, workload, "", namespace) for namespace, workload in (source, target))
    return EdgeCount(*ends, "http", {"source": 10.0})
