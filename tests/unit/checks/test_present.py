"""What a mesh does not have is skipped with the reason, said once in full; what is there and broken is not skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.checks.base import passed, run_check
from meshlab.checks.present import answer_timeout, metrics, scraping_of, traces, why_no_tracing
from meshlab.config.settings import LabConfig
from meshlab.core import registry
from meshlab.core.errors import NotHereError
from meshlab.core.patience import Patience
from meshlab.istio.facts import read_facts
from meshlab.istio.mesh import Mesh
from meshlab.run.journal import RunRef, create
from meshlab.run.results import CheckResult, Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.istio_objects import istiod
from tests.fakes.kube import FakeKube, make_pod
from tests.fakes.prometheus_server import FakePrometheusServer, success
from tests.fakes.telemetry import JAEGER, OTHER, FakeTelemetryMesh

QUERY = "/api/v1/query"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunRef]:
    """A run whose waits take no time."""
    made = create(tmp_path, "nightly-validation")
    registry.put(Patience(FakeClock()), made.run_id)
    yield made
    registry.take(Patience, made.run_id)


def facts(kube: FakeTelemetryMesh) -> Mesh:
    """Of a mesh whose control plane has the configuration that the fake holds."""
    kube.put(istiod())
    return read_facts(kube, "default")  # type: ignore[arg-type]


def theirs(**more: Any) -> LabConfig:
    return LabConfig.model_validate({"cluster": "existing", **more})


def checked(run: RunRef, kube: Any, config: LabConfig, check_id: str) -> CheckResult:
    def ask() -> CheckResult:
        with metrics(run, kube, config):
            return passed(check_id, "asked", {"n": 1})

    return run_check(check_id, ask)


def answer(found: dict[str, list[Any]]) -> Any:
    def body(parameters: dict[str, list[str]]) -> Any:
        asked = parameters["query"][0]
        result = next((series for text, series in found.items() if text in asked), [])
        kind = "matrix" if asked.endswith("]") else "vector"
        return {"status": "success", "data": {"resultType": kind, "result": result}}

    return body


def test_without_a_prometheus_a_check_is_skipped_with_what_to_set(run: RunRef) -> None:
    found = checked(run, FakeKube(), theirs(), "prometheus.code-200")
    assert found.verdict is Verdict.SKIPPED and found.asked_for
    assert "no Prometheus" in str(found.reason) and "prometheus.service" in str(found.remedy)


def test_one_that_scrapes_no_sidecar_is_said_once_with_the_job_that_mends_it(run: RunRef) -> None:
    kube = FakeKube([make_pod("sleep-1", namespace="meshlab")])
    up = {"count(up)": [{"metric": {}, "value": [1, "7"]}]}
    with FakePrometheusServer({QUERY: (200, answer(up))}) as server:
        config = theirs(prometheus={"url": server.url})
        first = checked(run, kube, config, "prometheus.targets")
        asked = len(server.asked)
        later = checked(run, kube, config, "prometheus.code-200")
        assert len(server.asked) == asked, "it was read once"
    assert [each.verdict for each in (first, later)] == [Verdict.SKIPPED] * 2
    assert first.reason == later.reason and "none of the sidecars" in str(first.reason)
    assert "istio-sidecars" in str(first.remedy)
    assert later.remedy == "see prometheus.targets"


def test_one_that_is_there_and_does_not_answer_is_no_skip(run: RunRef) -> None:
    kube = FakeKube([make_pod("sleep-1", namespace="meshlab")])
    with FakePrometheusServer({QUERY: (500, "no")}) as server:
        found = checked(run, kube, theirs(prometheus={"url": server.url}), "prometheus.targets")
    assert found.verdict is Verdict.INFRA_ERROR


def test_what_was_read_is_known_to_the_later_steps(run: RunRef) -> None:
    kube = FakeKube([make_pod("sleep-1", namespace="meshlab")])
    labels = {"pod": "sleep-1", "namespace": "meshlab"}
    series = {
        '"}[': [{"metric": labels, "values": [[30, "1"], [90, "1"]]}],
        "up{pod=~": [{"metric": labels, "value": [90, "1"]}],
        "count(up)": [{"metric": {}, "value": [1, "7"]}],
    }
    with FakePrometheusServer({QUERY: (200, answer(series))}) as server:
        config = theirs(prometheus={"url": server.url})
        with metrics(run, kube, config):
            pass
    assert scraping_of(run, config).seconds == 60
    assert answer_timeout(run, config) > config.prometheus.answer_timeout


def test_on_a_cluster_of_ours_that_none_is_there_is_no_skip(run: RunRef) -> None:
    assert why_no_tracing(FakeKube(), LabConfig(), Mesh("default")) == ""  # type: ignore[arg-type]
    assert scraping_of(run, LabConfig()).seconds == LabConfig().prometheus.scrape_seconds


def test_no_tracing_is_said_with_what_is_missing() -> None:
    for mesh, config, told in (
        (FakeTelemetryMesh(), theirs(), "no Jaeger"),
        (FakeTelemetryMesh(), theirs(tracing={"api": "none"}), "tracing.api is none"),
        (FakeTelemetryMesh(providers=[]), theirs(tracing={"url": "http://x.test"}), "no provider"),
    ):
        with pytest.raises(NotHereError, match=told), traces(mesh, config, facts(mesh)):  # type: ignore[arg-type]
            pass
    # Its provider's service is missing: that is broken, not absent.
    broken = FakeTelemetryMesh(providers=[JAEGER], services=())
    asked = theirs(tracing={"url": "http://x.test"})
    assert why_no_tracing(broken, asked, facts(broken)) == ""  # type: ignore[arg-type]
    assert OTHER["name"] == "otel" and success([])[0] == 200
