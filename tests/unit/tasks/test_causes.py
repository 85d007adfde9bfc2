"""A step whose checks turn red names what explains them; nothing is asked where all is green."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshlab.causes.snapshot import load
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import KubeError
from meshlab.history.difference import configuration_changes
from meshlab.history.keep import keep_run
from meshlab.history.store import History
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create, read_journal, record_check, record_facts
from meshlab.run.result_file import finish
from meshlab.run.results import CheckResult, Verdict
from meshlab.security.gateways.entry import Missing
from tasks import causes, edge
from tests.fakes.kube import FakeKube

ABORTS = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "aborts", "namespace": "default"},
    "spec": {"hosts": ["productpage"], "http": [{"fault": {"abort": {"httpStatus": 500}}}]},
}


OTHER = {**ABORTS, "metadata": {"name": "other", "namespace": "default"}}


def mesh(*objects: dict[str, Any]) -> FakeKube:
    kube = FakeKube([*objects])
    kube.kinds["networking.istio.io/v1", "VirtualService"] = True
    return kube


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    kube = mesh(ABORTS)
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
        causes.note_causes(run, "check-x", args(run, tmp_path))
    (event,) = events(run)
    assert event["checks"] == ["app.productpage"]
    assert [cause["object"] for cause in event["causes"]] == ["VirtualService default/aborts"]


def test_in_a_round_of_sabotage_they_are_put_to_the_test(run: RunRef, tmp_path: Path) -> None:
    check(run, Verdict.FAIL)
    causes.note_causes(replace(run, flow=causes.SABOTAGE), "check-x", args(run, tmp_path))
    (event,) = [each for each in read_journal(run) if each["event"] == "causes-tried"]
    assert set(event["ways"]) == {"without history", "beside newer changes"}
    assert {found[0]["object"] for found in event["ways"].values()} == {"VirtualService default/aborts"}


def test_green_checks_and_steps_without_a_cluster_ask_nothing(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causes, "kube_of", lambda cluster: pytest.fail("nothing is to be asked"))
    check(run, Verdict.PASS)
    causes.note_causes(run, "check-x", args(run, tmp_path))
    check(run, Verdict.FAIL)
    causes.note_causes(run, "check-x", (run, LabConfig()))
    assert events(run) == []


def test_green_runs_keep_the_configuration_and_a_red_one_is_compared_with_the_last(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = args(run, tmp_path)
    config = LabConfig()
    machine = Machine.here({"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")})
    record_facts(run, cluster={"provider": "local", "name": "x"})
    begin_context(run, config, machine)
    causes.note_causes(run, "check-mtls", given)
    assert load(run.directory) == {}
    causes.note_causes(run, "check-app", given)
    assert [*load(run.directory)["check-app"]] == ["VirtualService default/aborts"]
    check(run, Verdict.PASS)
    assert finish(run)[0] == 0 and keep_run(run, config, machine, finish(run)[1])

    later = create(tmp_path, "full-lab")
    begin_context(later, config, machine)
    monkeypatch.setattr(causes, "kube_of", lambda cluster: mesh(ABORTS, OTHER))
    check(later, Verdict.FAIL)
    causes.note_causes(later, "check-app", args(later, tmp_path))
    (event,) = events(later)
    assert {cause["object"]: cause["change"] for cause in event["causes"]} == {
        "VirtualService default/other": f"new since the green run {run.run_id}",
        "VirtualService default/aborts": "",
    }
    assert event["causes"][0]["object"] == "VirtualService default/other", "equal but for being new"
    assert keep_run(later, config, machine, finish(later)[1])
    with History.of(config, machine) as history:
        first, second = history.runs()
    found = configuration_changes(first, second)
    assert found is not None and [(each.what, each.object) for each in found] == [
        ("new", "VirtualService default/other")
    ]


def test_a_cluster_that_is_away_costs_the_step_nothing(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(cluster: ClusterRef) -> FakeKube:
        raise KubeError("it does not answer")

    monkeypatch.setattr(causes, "kube_of", away)
    check(run, Verdict.FAIL)
    causes.note_causes(run, "check-x", args(run, tmp_path))
    assert events(run) == []


def test_checks_that_two_steps_see_at_once_are_explained_by_the_first_that_is_done(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingress and egress are checked side by side, and each note names what is red by then."""
    given = args(run, tmp_path)

    def meanwhile(*_: object) -> None:
        monkeypatch.setattr(causes, "last_green", lambda *_: None)
        causes.note_causes(run, "check-egress", given)

    monkeypatch.setattr(causes, "last_green", meanwhile)
    check(run, Verdict.FAIL)
    causes.note_causes(run, "check-ingress", given)
    (event,) = events(run)
    assert event["checks"] == ["app.productpage"]


SIDECAR = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Sidecar",
    "metadata": {"name": "meshlab-egress", "namespace": "default"},
    "spec": {
        "workloadSelector": {"labels": {"app": "sleep"}},
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
    },
}


@pytest.mark.parametrize("missing", [False, True], ids=["with a gateway", "without one"])
def test_a_way_out_that_is_open_is_explained_by_the_stage_s_own_object(
    missing: bool, run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Sidecar is there while the egress is checked, and not before or after."""
    config, kube = LabConfig(), mesh()
    kube.kinds["networking.istio.io/v1", "Sidecar"] = True
    begin_context(run, config, Machine.here({"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "s")}))

    class Open:
        """A probe under which everything passes."""

        def __init__(
            self, kube: FakeKube, istioctl: object, changes: Changes, *_: object, **__: object
        ) -> None:
            self.changes = changes

        def begin(self) -> None:
            self.changes.apply(SIDECAR)

        close = begin

    def red(check_id: str) -> CheckResult:
        return CheckResult(check_id, "", Verdict.FAIL, "expected refused, got 200")

    monkeypatch.setattr(causes, "kube_of", lambda cluster: kube)
    monkeypatch.setattr(edge, "kube_of", lambda cluster: kube)
    monkeypatch.setattr(edge, "mesh_of", lambda *_: Mesh("default"))
    monkeypatch.setattr(edge, "istioctl_of", lambda *_: None)
    monkeypatch.setattr(edge, "EgressProbe", Open)
    monkeypatch.setattr(edge, "usable", lambda *_: Missing("none is there", chosen=True) if missing else [])
    for name in ("ask_open", "ask_closed", "ask_declared"):
        monkeypatch.setattr(edge.egress_checks, name, lambda _: None)
    monkeypatch.setattr(edge.egress_checks, "blocked", lambda *_: red("egress.blocked"))
    monkeypatch.setattr(edge.egress_checks, "gateway", lambda *_: red("egress.gateway"))
    edge.check_egress.fn(run, config, args(run, tmp_path)[2], None)
    (event,) = events(run)
    assert event["checks"] == ["egress.blocked", *([] if missing else ["egress.gateway"])]
    assert {each["object"] for each in event["causes"]} == {"Sidecar default/meshlab-egress"}
    assert kube.get("networking.istio.io/v1", "Sidecar", "meshlab-egress", "default") is None
