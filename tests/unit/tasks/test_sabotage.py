"""Rounds and proofs around the tasks: what is recorded, and that what was planted is taken out on every way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.states import Completed, Failed

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import KubeError
from meshlab.faults.fault import GROUPS, STRICT, Fault
from meshlab.faults.verdict import unproven
from meshlab.istio.distribution import Distribution
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create, read_journal, record_check
from meshlab.run.ledger import Ledger
from meshlab.run.results import Verdict
from tasks import sabotage
from tasks.sabotage import Lab, hold_control, plan, prove, rounds_config
from tasks.teardown import CreatedResources
from tests.fakes.kube import FakeKube
from tests.unit.faults.test_verdict import MUST, checks

CLUSTER = ClusterRef("existing", "c", Path("kubeconfig"))
ISTIO = Distribution("embedded", Path("istioctl"), "1.2.3", Path("samples"))
CONFIG = LabConfig(cluster="existing")
FAULT = Fault("f", "It is broken", must=(MUST,), plant=lambda site: None, groups=("app",))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "sabotage"), CONFIG, Machine.here()).run


@pytest.fixture
def lab() -> Lab:
    """A lab that lives in `world`: what is planted in it is there until it is taken out."""
    return Lab(rounds_config(CONFIG), CLUSTER, ISTIO)


class World:
    """Stands in for the two tasks that touch the lab, for its inventory and for the checks of group `app`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.planted: list[str] = []
        self.refuses: Exception | None = None
        self.sticks = False
        self.fails: Callable[[], BaseException] | None = None
        self.seen = checks
        self.pages: list[int] = []
        monkeypatch.setattr(sabotage, "plant_fault", self.plant)
        monkeypatch.setattr(sabotage, "remove_fault", self.remove)
        monkeypatch.setattr(sabotage, "inventory_of", lambda *_: dict.fromkeys(self.planted, "there"))
        monkeypatch.setattr(sabotage, "halt_load", lambda *_: None)
        monkeypatch.setitem(sabotage.MAKERS, "app", self.make)

    def plant(self, probe_run: RunRef, run: RunRef, lab: Lab, fault: Fault, *, return_state: bool) -> Any:
        self.planted.append(fault.name)
        return Failed(data=self.refuses) if self.refuses else Completed(data=None)

    def remove(self, probe_run: RunRef, run: RunRef, lab: Lab, *, return_state: bool) -> Any:
        if not self.sticks:
            self.planted.clear()
        return Completed(data=None)

    def make(self, probe_run: RunRef, lab: Lab) -> None:
        self.pages.append(lab.config.app.page_requests)
        if self.fails:
            raise self.fails()
        found = self.seen(app_productpage="fail") if self.planted else self.seen()
        for check_id, check in found.items():
            made = unproven(FAULT, "x")
            record_check(
                probe_run,
                type(made)(check_id, check_id, Verdict(check["verdict"]), check["summary"], reason="1"),
            )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def recorded(run: RunRef, kind: str) -> list[dict]:
    return [event for event in read_journal(run) if event["event"] == kind]


def test_a_fault_is_planted_checked_taken_out_and_written_down(run: RunRef, lab: Lab, world: World) -> None:
    assert prove(run, lab, FAULT) is True
    assert world.planted == []
    [catch] = recorded(run, "catch")
    assert {key: catch[key] for key in ("fault", "must", "may", "red", "restored")} == {
        "fault": "f", "must": [MUST], "may": [], "red": [MUST], "restored": True,
    }  # fmt: skip
    [check] = recorded(run, "check")
    assert (check["id"], check["verdict"]) == ("sabotage.f", "pass")
    assert [(step["name"], step["state"]) for step in recorded(run, "step")][-1] == ("fault-f", "done")
    assert world.pages == [FAULT.pages]


def test_red_checks_of_a_round_are_not_the_runs(run: RunRef, lab: Lab, world: World) -> None:
    prove(run, lab, FAULT)
    assert {check["id"] for check in recorded(run, "check")} == {"sabotage.f"}
    journal = run.evidence / "rounds" / "f" / "evidence" / "journal.jsonl"
    assert '"app.productpage"' in journal.read_text()


def test_a_fault_that_stays_ends_the_planting(run: RunRef, lab: Lab, world: World) -> None:
    world.sticks = True
    assert prove(run, lab, FAULT) is False
    [check] = recorded(run, "check")
    assert check["verdict"] == "infra-error"
    assert "f was not there before" in check["reason"]
    assert recorded(run, "catch")[0]["restored"] is False


def test_a_fault_that_can_not_be_planted_is_no_catch_and_is_taken_out(
    run: RunRef, lab: Lab, world: World
) -> None:
    world.refuses = KubeError("a webhook refused it", remedy="ask the webhook")
    assert prove(run, lab, FAULT) is True
    assert world.planted == []
    assert recorded(run, "catch") == []
    [check] = recorded(run, "check")
    assert (check["verdict"], check["reason"]) == ("infra-error", "a webhook refused it")


@pytest.mark.parametrize("fails", [KubeError, ZeroDivisionError])
def test_a_step_that_crashes_has_its_check_with_the_cause(
    run: RunRef, lab: Lab, world: World, fails: type[Exception]
) -> None:
    world.fails = lambda: fails("in the middle of it")
    with pytest.raises(fails):
        prove(run, lab, FAULT)
    assert world.planted == []
    with pytest.raises(fails):
        hold_control(run, lab, [FAULT], "baseline")
    checks = recorded(run, "check")
    assert [(check["id"], check["verdict"]) for check in checks] == [
        ("sabotage.f", "infra-error"),
        ("sabotage.baseline", "infra-error"),
    ]
    assert all("in the middle of it" in check["reason"] and check["remedy"] for check in checks)


def test_an_interruption_takes_the_fault_out_first(run: RunRef, lab: Lab, world: World) -> None:
    world.fails = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        prove(run, lab, FAULT)
    assert world.planted == []


def test_a_control_round_makes_the_groups_of_all_faults_and_must_be_green(
    run: RunRef, lab: Lab, world: World
) -> None:
    assert hold_control(run, lab, [FAULT], "baseline") is True
    world.planted.append("left by somebody")
    assert hold_control(run, lab, [FAULT], "control") is False
    first, second = recorded(run, "check")
    assert (first["id"], first["verdict"]) == ("sabotage.baseline", "pass")
    assert (second["id"], second["verdict"]) == ("sabotage.control", "infra-error")
    assert "app.productpage is fail" in second["reason"]


def test_what_can_not_be_planted_here_is_skipped_with_the_reason(run: RunRef) -> None:
    lab, chosen = plan(run, CONFIG, CLUSTER, ISTIO, ["edge-cut-by-firewall", "abort-10-percent"])
    assert [fault.name for fault in chosen] == ["abort-10-percent"]
    [check] = recorded(run, "check")
    assert (check["verdict"], check["reason"]) == ("skipped", "needs a node of the local cluster")
    assert lab.cluster == CLUSTER


@pytest.mark.parametrize(
    ("provider", "adopted", "stays"),
    [("local", True, True), ("local", False, False), ("existing", True, False)],
)
def test_a_lab_that_was_up_stays_up_but_nothing_stays_in_a_cluster_of_others(
    provider: str, adopted: bool, stays: bool
) -> None:
    made = CreatedResources(cluster=ClusterRef(provider, "c", Path("kubeconfig"), adopted=adopted))
    assert bool(made.found_up) is stays
    assert CreatedResources().found_up == ""


def test_every_group_has_a_maker() -> None:
    assert set(GROUPS) == {*sabotage.MAKERS, "mtls", "uninstall", "teardown"}
    assert set(STRICT) <= set(GROUPS)


def test_what_a_stage_could_not_put_back_under_the_fault_goes_with_it(
    run: RunRef, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube, settled = FakeKube(), []
    probe_run = sabotage.begin_round(run, lab, "f")
    left = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left", "namespace": "default"}}
    Changes(kube, Ledger.open(Machine.here(), probe_run), probe_run).apply(left)  # type: ignore[arg-type]
    monkeypatch.setattr(sabotage, "kube_of", lambda _: kube)
    monkeypatch.setattr(sabotage, "mesh_of", lambda *_: Mesh("default"))
    monkeypatch.setattr(sabotage, "remove", lambda *_: ("the fault",))
    monkeypatch.setattr(sabotage, "wait_settled", lambda *_: settled.append("waited"))
    sabotage.remove_fault.fn(probe_run, run, lab)
    assert kube.get("v1", "ConfigMap", "left", "default") is None and settled == ["waited"]
    sabotage.remove_fault.fn(probe_run, run, lab)
    assert settled == ["waited"], "nothing was left the second time"
