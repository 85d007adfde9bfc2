"""The order of a sabotage: rounds, then the faults of the removal, and only where all was well and the lab goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows import sabotage as flow
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.faults.fault import Fault
from meshlab.istio.distribution import Distribution
from meshlab.run.journal import RunRef
from tasks.sabotage import Lab
from tasks.teardown import BeforeRemoval

ISTIO = Distribution("embedded", Path("istioctl"), "1.31.0", Path("samples"))
FIRST, SECOND = (Fault(name, name, must=("app.bookinfo",)) for name in ("first", "second"))
END = Fault("end", "end", must=("teardown.nothing-left",), groups=("teardown",), last=True)


class Work:
    """A task that was submitted and has applied nothing."""

    def submit(self, *_: Any) -> Work:
        return self


class World:
    """Stands in for the tasks: notes what was called. sticks: a fault that can't be taken out; red: rounds that fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.chosen: tuple[Fault, ...] = (FIRST, SECOND, END)
        self.sticks = self.raises = ""
        self.red: set[str] = set()
        self.stopped: int | None = None
        self.stays: list[str] = []
        cluster = ClusterRef("local", "c", Path("kubeconfig"))
        monkeypatch.setattr(flow, "begin_run", lambda *_: (RunRef("r", Path(), "sabotage", ""), None))
        monkeypatch.setattr(flow, "bring_up", lambda *_: (cluster, ISTIO))
        monkeypatch.setattr(flow, "applied", lambda *_: [])
        for name in ("deploy_prometheus", "deploy_jaeger", "deploy_bookinfo", "deploy_traffic_clients"):
            monkeypatch.setattr(flow, name, Work())
        monkeypatch.setattr(flow, "plan", self.plan)
        monkeypatch.setattr(flow, "hold_control", self.hold_control)
        monkeypatch.setattr(flow, "prove", self.prove)
        monkeypatch.setattr(flow, "not_planted", self.not_planted)
        monkeypatch.setattr(flow, "take_down", self.take_down)
        monkeypatch.setattr(
            flow, "judge_last", lambda _, last: self.calls.append(f"judge {len(last.waiting)}")
        )
        monkeypatch.setattr(flow, "publish_catches", lambda _: self.calls.append("publish"))
        monkeypatch.setattr(flow, "run_lab", self.run_lab)

    def plan(self, run: RunRef, config: LabConfig, *given: Any, stays: str) -> Any:
        self.stays.append(stays)
        return Lab(config, given[0], ISTIO), self.chosen

    def hold_control(self, run: RunRef, lab: Lab, faults: list[Fault], name: str) -> bool:
        assert not any(fault.last for fault in faults), "no round makes the checks of the removal"
        self.calls.append(name)
        return name not in self.red

    def prove(self, run: RunRef, lab: Lab, fault: Fault) -> bool:
        self.calls.append(fault.name)
        if fault.name == self.raises:
            raise ZeroDivisionError
        return fault.name != self.sticks

    def not_planted(self, run: RunRef, faults: list[Fault], why: str) -> None:
        self.calls += [f"not {fault.name}" for fault in faults]

    def take_down(self, *_: Any, first: BeforeRemoval, **__: Any) -> None:
        planting = first.cluster.__qualname__.startswith("LastFaults.")
        self.calls.append("take down, planting" if planting else "take down")

    def run_lab(
        self, run: RunRef, config: LabConfig, created: Any, prove: Any, *, failed: Any, leave: Any
    ) -> str:
        try:
            prove(run, config, created)
        except ZeroDivisionError:
            failed()
        leave(self.stopped)
        return "state"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def run(**config: Any) -> None:
    assert flow.sabotage.fn(LabConfig.model_validate(config)) == "state"


def test_the_faults_of_the_removal_come_last_and_are_judged_when_the_lab_is_gone(world: World) -> None:
    run()
    rounds = ["baseline", "first", "second", "control"]
    assert world.calls == [*rounds, "take down, planting", "judge 1", "publish"]
    assert world.stays == [""]


def test_alone_they_need_no_round(world: World) -> None:
    world.chosen = (END,)
    run()
    assert world.calls == ["take down, planting", "judge 1", "publish"]


def test_nothing_chosen_is_told_by_the_round_that_makes_nothing(world: World) -> None:
    world.chosen = ()
    run()
    assert world.calls[:2] == ["baseline", "control"]


@pytest.mark.parametrize(
    ("broken", "calls"),
    [
        ({"red": {"baseline"}}, ["baseline", "not first", "not second", "not end"]),
        ({"red": {"control"}}, ["baseline", "first", "second", "control", "not end"]),
        ({"sticks": "first"}, ["baseline", "first", "control", "not second", "not end"]),
        ({"raises": "second"}, ["baseline", "first", "second", "not end"]),
    ],
)
def test_nothing_is_planted_in_the_way_of_a_lab_that_is_not_as_it_was(
    world: World, broken: dict[str, Any], calls: list[str]
) -> None:
    for name, value in broken.items():
        setattr(world, name, value)
    run()
    assert world.calls == [*calls, *world.calls[len(calls) :]]
    assert world.calls[-2:] == ["judge 0", "publish"]


def test_an_interrupted_run_plants_nothing_while_it_leaves(world: World) -> None:
    world.stopped = 15
    run()
    assert world.calls[-2:] == ["take down", "publish"]


def test_a_lab_that_is_kept_says_so_to_the_plan(world: World) -> None:
    run(keep=True)
    assert "--keep" in world.stays[0]
