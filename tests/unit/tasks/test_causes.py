"""A step whose checks turn red names what explains them; nothing is asked where all is green."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.run.journal import RunRef, create, read_journal, record_check
from meshlab.run.results import CheckResult, Verdict
from tasks import causes
from tests.fakes.kube import FakeKube

ABORTS = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "aborts", "namespace": "default"},
    "spec": {"hosts": ["productpage"], "http": [{"fault": {"abort": {"httpStatus": 500}}}]},
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    kube = FakeKube([ABORTS])
    kube.kinds["networking.istio.io/v1", "VirtualService"] = True
    monkeypatch.setattr(causes, "kube_of", lambda cluster: kube)
    monkeypatch.setattr(
        causes, "mesh_of", lambda run, cluster: SimpleNamespace(root_namespace="istio-system")
    )
    return create(tmp_path, "full-lab")


def args(run: RunRef, tmp_path: Path) -> tuple[object, ...]:
    return (run, LabConfig(), ClusterRef("local", "x", tmp_path / "kubeconfig", "x"))


def check(run: RunRef, verdict: Verdict) -> None:
    record_check(run, CheckResult("app.productpage", "The page answers", verdict, "0 of 20"))


def events(run: RunRef) -> list[dict[str, Any]]:
    return [event for event in read_journal(run) if event["event"] == "causes"]


def test_a_red_check_is_explained_once(run: RunRef, tmp_path: Path) -> None:
    check(run, Verdict.FAIL)
    for _ in range(2):
        causes.note_causes(run, args(run, tmp_path))
    (event,) = events(run)
    assert event["checks"] == ["app.productpage"]
    assert [cause["object"] for cause in event["causes"]] == ["VirtualService default/aborts"]


def test_green_checks_and_steps_without_a_cluster_ask_nothing(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causes, "kube_of", lambda cluster: pytest.fail("nothing is to be asked"))
    check(run, Verdict.PASS)
    causes.note_causes(run, args(run, tmp_path))
    check(run, Verdict.FAIL)
    causes.note_causes(run, (run, LabConfig()))
    assert events(run) == []


def test_a_cluster_that_is_away_costs_the_step_nothing(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(cluster: ClusterRef) -> FakeKube:
        raise KubeError("it does not answer")

    monkeypatch.setattr(causes, "kube_of", away)
    check(run, Verdict.FAIL)
    causes.note_causes(run, args(run, tmp_path))
    assert events(run) == []
