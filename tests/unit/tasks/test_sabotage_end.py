"""Faults of the removal: planted in its way, red in a round of their own, taken out, and the run's own removal is green."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meshlab.checks.leftovers import teardown_nothing_left, uninstall_nothing_left
from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import ProcessError
from meshlab.faults import faults
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import InstallResult
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.lifecycle import context
from meshlab.lifecycle.context import begin_context, context_of
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.run.ledger import Entry, Ledger
from tasks import cluster as cluster_tasks
from tasks import istio as istio_tasks
from tasks import sabotage, sabotage_end, teardown
from tasks.sabotage import Lab, rounds_config
from tasks.sabotage_end import LastFaults, judge_last, not_planted, why_it_stays
from tasks.teardown import CreatedResources
from tests.fakes.clock import FakeClock
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.mesh import FakeMesh, make_object
from tests.fakes.tasks import called_here

CLUSTER = ClusterRef("local", "lab", Path("kubeconfig"))
ISTIO = Distribution("embedded", Path("istioctl"), "1.2.3", Path("samples"))
CONFIG = LabConfig()
INSTALLED = InstallResult(reused=False, profile="default", deployments=("istiod",))
FINALIZER, MOUNT = (fault for fault in faults.FAULTS if fault.last)
UNINSTALL, TEARDOWN = "uninstall.nothing-left", "teardown.nothing-left"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "sabotage"), CONFIG, Machine.here()).run


class FakeMount:
    """A mount that is in the ledger first, and holds until it is put back. soft: it holds nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self.entry = ledger, Entry("mount", "/state/lab/sabotage", "lab")
        self.there = self.holds = self.soft = False

    def occupy(self) -> None:
        self._ledger.intend(self.entry)
        self.there, self.holds = True, not self.soft

    def restore(self) -> tuple[str, ...]:
        self.there = self.holds = False
        self._ledger.gone(self.entry)
        return ()


class World:
    """A local cluster with Istio: its API, and what it has on this machine."""

    def __init__(self, run: RunRef, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kube = FakeMesh(
            [
                make_object("v1", "Namespace", "istio-system"),
                make_object("v1", "ConfigMap", "istio-ca-root-cert", "default"),
                make_object("v1", "ConfigMap", "istio-ca-root-cert", "istio-system"),
            ]
        )
        self.istioctl = FakeIstioctl({"uninstall": Said("Uninstall complete")})
        self.mount = FakeMount(context_of(run).ledger)
        self.up, self.removals = True, 0
        for module in (istio_tasks, sabotage_end):
            monkeypatch.setattr(module, "kube_of", lambda _: self.kube)
            monkeypatch.setattr(
                module, "istioctl_of", lambda *_: Istioctl(Path("istioctl"), runner=self.istioctl)
            )
        monkeypatch.setattr(sabotage_end, "mesh_of", lambda *_: Mesh("default"))
        monkeypatch.setattr(sabotage_end, "held_mount_of", lambda *_: self.mount)
        monkeypatch.setattr(sabotage_end, "UNINSTALL_TIMEOUT", 0.05)
        monkeypatch.setattr(sabotage, "halt_load", lambda _: None)
        monkeypatch.setattr(context, "provider_of", lambda *_: self)
        monkeypatch.setattr(cluster_tasks, "provider_of", lambda *_: self)
        for module, check in ((istio_tasks, uninstall_nothing_left), (cluster_tasks, teardown_nothing_left)):
            monkeypatch.setattr(module, check.__name__, partial(check, clock=FakeClock()))
        for module, names in (
            (sabotage_end, ("plant_last", "take_out_last", "uninstall_istio", "check_uninstall")),
            (sabotage_end, ("remove_under_fault", "check_teardown")),
            (teardown, ("list_istio", "uninstall_istio", "check_uninstall", "take_inventory")),
            (teardown, ("remove_cluster", "check_teardown")),
        ):
            for name in names:
                monkeypatch.setattr(module, name, called_here(getattr(module, name)))

    def inventory(self) -> Leftovers:
        mounts = ("/state/lab/sabotage",) if self.mount.there else ()
        return Leftovers({"processes": ("1 kubelet",) if self.up else (), "mounts": mounts})

    def down(self, *, progress: Any) -> None:
        self.removals += 1
        self.up = False
        if self.mount.holds:
            raise ProcessError("umount: /state/lab/sabotage: target is busy.")
        self.mount.there = False


@pytest.fixture
def world(run: RunRef, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(run, monkeypatch)


def last(*wanted: faults.Fault) -> LastFaults:
    return LastFaults(Lab(rounds_config(CONFIG), CLUSTER, ISTIO), list(wanted))


def removed(run: RunRef, planted: LastFaults) -> None:
    """The lab's removal as `take_down` does it, with the faults in its way."""
    created = CreatedResources(cluster=CLUSTER, istio=ISTIO, mesh=INSTALLED)
    teardown.remove(run, CONFIG, created, None, planted.before_removal(run))
    judge_last(run, planted)


def recorded(run: RunRef, kind: str) -> list[dict]:
    return [event for event in read_journal(run) if event["event"] == kind]


def round_of(run: RunRef, fault: faults.Fault) -> dict[str, dict]:
    """The checks of a fault's round."""
    probe = RunRef("round", run.evidence / "rounds" / fault.name, "sabotage-round", "")
    return {event["id"]: event for event in recorded(probe, "check")}


def test_both_are_planted_caught_taken_out_and_the_runs_own_removal_is_green(
    run: RunRef, world: World
) -> None:
    removed(run, last(FINALIZER, MOUNT))
    assert {check["id"]: check["verdict"] for check in recorded(run, "check")} == {
        UNINSTALL: "pass",
        TEARDOWN: "pass",
        FINALIZER.check_id: "pass",
        MOUNT.check_id: "pass",
    }
    for catch, fault, red in zip(
        recorded(run, "catch"), (FINALIZER, MOUNT), (UNINSTALL, TEARDOWN), strict=True
    ):
        assert {key: catch[key] for key in ("fault", "must", "may", "red", "restored")} == {
            "fault": fault.name, "must": [red], "may": [], "red": [red], "restored": True,
        }  # fmt: skip
    held = round_of(run, FINALIZER)[UNINSTALL]
    assert held["verdict"] == "fail" and "ConfigMap default/istio-ca-root-cert" in held["reason"]
    assert "meshlab/sabotage" in held["evidence"]["failure"], "what holds it is told, too"
    busy = round_of(run, MOUNT)[TEARDOWN]
    assert busy["verdict"] == "fail" and "mounts /state/lab/sabotage" in busy["reason"]
    assert not any("green" in check["summary"] for check in recorded(run, "check")), "no other check was made"
    assert world.removals == 2 and context_of(run).ledger.entries() == ()
    assert len(world.istioctl.commands) == 2
    states = {event["name"]: event["state"] for event in recorded(run, "step")}
    assert {states[f"fault-{fault.name}"] for fault in (FINALIZER, MOUNT)} == {"done"}
    assert states["uninstall-istio"] == states["remove-cluster"] == "done"


def test_without_them_the_removal_is_as_ever(run: RunRef, world: World) -> None:
    removed(run, LastFaults())
    assert {check["id"] for check in recorded(run, "check")} == {UNINSTALL, TEARDOWN}
    assert world.removals == 1 and recorded(run, "catch") == []


def test_a_fault_that_holds_nothing_is_a_miss(run: RunRef, world: World) -> None:
    world.mount.soft = True
    removed(run, last(MOUNT))
    [catch] = recorded(run, "catch")
    assert catch["red"] == [] and catch["restored"] is True
    found = {check["id"]: check["verdict"] for check in recorded(run, "check")}
    assert found[MOUNT.check_id] == "fail"


def test_a_removal_that_has_not_come_to_what_is_planted_is_no_catch(run: RunRef, world: World) -> None:
    """An uninstall that fails at its first command leaves the planted object, and everything else."""
    world.istioctl.answers = {"uninstall": [Said(stderr="no connection", returncode=1), Said("complete")]}
    removed(run, last(FINALIZER))
    [catch] = recorded(run, "catch")
    assert catch["red"] == [] and catch["restored"] is True
    found = {check["id"]: check for check in recorded(run, "check")}
    assert found[UNINSTALL]["verdict"] == "pass", "the run's own removal"
    assert found[FINALIZER.check_id]["verdict"] == "fail"
    assert "has not come to ConfigMap default/istio-ca-root-cert" in found[FINALIZER.check_id]["reason"]


def test_what_stays_without_the_fault_is_a_lab_that_is_not_restored(run: RunRef, world: World) -> None:
    removing: Callable[..., None] = world.down

    def sticks(*, progress: Any) -> None:
        removing(progress=progress)
        world.up = True

    world.down = sticks  # type: ignore[method-assign]
    removed(run, last(MOUNT))
    [catch] = recorded(run, "catch")
    assert catch["red"] == [TEARDOWN] and catch["restored"] is False
    found = {check["id"]: check for check in recorded(run, "check")}
    assert found[TEARDOWN]["verdict"] == "fail"
    assert found[MOUNT.check_id]["verdict"] == "infra-error"
    assert f"{TEARDOWN} is fail without it, too" in found[MOUNT.check_id]["reason"]


def test_a_fault_that_can_not_be_planted_keeps_no_removal_from_being_made(run: RunRef, world: World) -> None:
    def refuse() -> None:
        raise ProcessError("mount: permission denied")

    world.mount.occupy = refuse  # type: ignore[method-assign]
    world.kube.store.pop(("v1", "ConfigMap", "default", "istio-ca-root-cert"))
    removed(run, last(FINALIZER, MOUNT))
    found = {check["id"]: check for check in recorded(run, "check")}
    assert found[UNINSTALL]["verdict"] == found[TEARDOWN]["verdict"] == "pass"
    assert found[FINALIZER.check_id]["verdict"] == found[MOUNT.check_id]["verdict"] == "infra-error"
    assert "permission denied" in found[MOUNT.check_id]["reason"] and recorded(run, "catch") == []


def test_a_crash_between_planting_and_taking_out_takes_it_out_and_goes_on(
    run: RunRef, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashes(*_: Any) -> None:
        raise ZeroDivisionError("in the middle of it")

    monkeypatch.setattr(sabotage_end, "try_removal", crashes)
    removed(run, last(MOUNT))
    found = {check["id"]: check for check in recorded(run, "check")}
    assert "in the middle of it" in found[MOUNT.check_id]["reason"]
    assert found[TEARDOWN]["verdict"] == "pass" and context_of(run).ledger.entries() == ()


def test_what_the_removal_did_not_come_to_is_told(run: RunRef) -> None:
    judge_last(run, last(FINALIZER, MOUNT))
    checks = recorded(run, "check")
    assert [check["id"] for check in checks] == [FINALIZER.check_id, MOUNT.check_id]
    assert all(check["verdict"] == "infra-error" and check["reason"] for check in checks)


def test_faults_that_were_not_reached_say_why(run: RunRef) -> None:
    not_planted(run, [FINALIZER], "the lab was not green")
    [check] = recorded(run, "check")
    assert (check["verdict"], check["reason"]) == ("infra-error", "the lab was not green")


def test_only_a_lab_of_the_runs_own_that_it_takes_down_is_for_them() -> None:
    made = CreatedResources(cluster=CLUSTER)
    assert why_it_stays(CONFIG, made) == ""
    assert "--keep" in why_it_stays(CONFIG.model_copy(update={"keep": True}), made)
    adopted = CreatedResources(cluster=ClusterRef("local", "lab", Path("kubeconfig"), adopted=True))
    assert why_it_stays(CONFIG, adopted) == adopted.found_up != ""
    assert why_it_stays(LabConfig(cluster="existing"), made) == "the cluster is not ours"
