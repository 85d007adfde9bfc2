"""The order of an upgrade, and what becomes of it when a step fails: taken back while there is a way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import upgrade as flow
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import InputError, Interrupted, IstioError
from meshlab.istio.distribution import Distribution
from meshlab.istio.upgrade import Move, UpgradePlan
from meshlab.run.journal import RunRef

MOVES = tuple(Move(name, {}, ()) for name in ("bank", "shop"))
PLAN = UpgradePlan("home", "default", "1.30.0", "1-31-0", "1.31.0", ("default",), MOVES, ())
ISTIO = Distribution("embedded", Path("istioctl"), "1.31.0", Path("samples"))
BRING_UP = [
    "start_cluster",
    "find_istio",
    "install_old_istio",
    "enable_injection",
    "make_room",
    "deploy_bookinfo",
    "begin_upgrade_traffic",
    "plan",
]
UNTIL_ALL_MOVED = [
    "check_round before",
    "install_new_revision",
    "move_namespace shop",
    "check_round side-by-side",
    "move_namespace bank",
    "move_client",
    "move_gateways",
    "check_round all-moved",
]
AFTER = ["end_upgrade_traffic", "check_cluster", "check_istio", "check_app"]
WITHOUT_RETURN = "retire_old_revision"
AT_THE_END = ["list_old_revision", "last_look", WITHOUT_RETURN]


class World:
    """Stands in for the tasks: notes what was called, and fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cluster: ClusterRef) -> None:
        self.calls: list[str] = []
        self.fails = ""
        self.problem: BaseException | None = None
        self.raises: BaseException = IstioError("it failed")
        self.owes = self.sends = self.asked_before = self.half_way = False
        self.causes: list[str] = []
        self.why_kept = ""
        self.was_rolling_back = ""
        gives: dict[str, Any] = {
            "start_cluster": cluster,
            "find_istio": ISTIO,
            "make_room": (),
            "deploy_bookinfo": (),
            "begin_upgrade_traffic": (),
            "plan": PLAN,
        }
        names = [*BRING_UP, *AFTER, *AT_THE_END, "check_upgrade", "roll_back"]
        names += ["check_round", "install_new_revision", "move_namespace", "move_client", "move_gateways"]
        names += ["ask_to_go_on", "take_down", "remove_upgrade_client"]
        for name in names:
            monkeypatch.setattr(flow, name, self.task(name, gives.get(name)))
        monkeypatch.setattr(flow, "refuse_half_way", self.refuse)
        monkeypatch.setattr(flow, "begin_run", lambda *_: (RunRef("r", Path(), "upgrade", ""), None))
        monkeypatch.setattr(flow, "kept_plan", lambda run: PLAN if self.owes else None)
        monkeypatch.setattr(flow, "keep_ask", lambda run, ask: ask or self.asked_before)
        monkeypatch.setattr(flow, "owes_upgrade", lambda run: self.owes)
        monkeypatch.setattr(flow, "rolling_back", lambda run: self.was_rolling_back)
        monkeypatch.setattr(flow, "sends", lambda run: self.sends)
        monkeypatch.setattr(flow, "attempt", lambda task, *args: task(*args))
        monkeypatch.setattr(flow, "run_lab", self.run_lab)

    def refuse(self, run: RunRef, cluster: ClusterRef) -> None:
        assert self.calls[-1:] == ["start_cluster"], "a cluster that was up is known as such"
        if self.half_way:
            raise IstioError("the upgrade of run x is half-way here")

    def task(self, name: str, gives: Any) -> Callable[..., Any]:
        def call(*args: Any, **named_too: Any) -> Any:
            last = args[-1] if args else ""
            named = {"check_round": last, "move_namespace": getattr(last, "namespace", "")}.get(name, "")
            told = f"{name} {named}".strip()
            self.calls.append(told)
            self.causes += [last] if name == "roll_back" else []
            self.why_kept = named_too.get("why_kept", "")
            self.owes |= name == "install_new_revision"
            self.owes &= name not in ("roll_back", WITHOUT_RETURN)
            self.sends |= name == "begin_upgrade_traffic"
            self.sends &= name != "end_upgrade_traffic"
            if told == self.fails:
                raise self.raises
            return gives

        return call

    def run_lab(self, run: RunRef, config: LabConfig, created: Any, prove: Any, *, leave: Any) -> str:
        try:
            prove(run, config, created)
        except BaseException as problem:  # noqa: BLE001 - as `run_to_end` does
            self.problem = problem
        leave(None)
        return "state"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, ClusterRef("local", "c", Path("kubeconfig")))


def run(**parameters: Any) -> None:
    config = LabConfig.model_validate({"app": {"namespace": "shop"}, **parameters.pop("config", {})})
    assert flow.upgrade.fn(config, **parameters) == "state"


def test_a_good_upgrade_moves_the_app_first_and_retires_the_old_revision(world: World) -> None:
    run()
    end = [*AT_THE_END, "check_upgrade", *AFTER, "take_down"]
    assert world.calls == [*BRING_UP, *UNTIL_ALL_MOVED, *end]
    assert world.problem is None


def test_a_mesh_that_is_half_way_is_refused_and_a_lab_that_was_up_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, ClusterRef("local", "c", Path("kubeconfig"), adopted=True))
    world.half_way = True
    run()
    assert world.calls == ["start_cluster", "take_down"] and "up before the run" in world.why_kept


def test_a_plan_that_was_not_kept_does_not_cost_a_lab_that_was_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(run: RunRef) -> None:
        raise IstioError("the plan was not kept")

    world = World(monkeypatch, ClusterRef("local", "c", Path("kubeconfig"), adopted=True))
    monkeypatch.setattr(flow, "kept_plan", lost)
    run()
    assert world.calls == ["start_cluster", "take_down"] and "up before the run" in world.why_kept


@pytest.mark.parametrize("fails", [*UNTIL_ALL_MOVED[1:], *AT_THE_END[:-1]])
def test_what_fails_while_there_is_a_way_back_is_rolled_back_while_traffic_flows(
    world: World, fails: str
) -> None:
    world.fails = fails
    run()
    steps = [*UNTIL_ALL_MOVED, *AT_THE_END]
    done = steps[: steps.index(fails) + 1]
    assert world.calls == [*BRING_UP, *done, "roll_back", *AFTER, "take_down"]
    assert world.problem is None


def test_what_fails_before_anything_is_changed_or_after_the_way_back_is_an_error(world: World) -> None:
    world.fails = "check_round before"
    run()
    assert "roll_back" not in world.calls and isinstance(world.problem, IstioError)
    assert world.calls[-2:] == ["end_upgrade_traffic", "take_down"]
    world.fails, world.calls[:] = WITHOUT_RETURN, []
    run()
    assert "roll_back" not in world.calls and isinstance(world.problem, IstioError)


def test_it_asks_between_the_first_namespace_and_the_others(world: World) -> None:
    run(ask=True)
    at = world.calls.index("ask_to_go_on")
    assert world.calls[at - 2 : at + 2] == [
        "move_namespace shop",
        "check_round side-by-side",
        "ask_to_go_on",
        "move_namespace bank",
    ]
    world.fails, world.calls[:] = "ask_to_go_on", []
    run(ask=True)
    assert world.calls[world.calls.index("ask_to_go_on") + 1] == "roll_back"


def test_a_run_that_was_cut_off_while_it_rolled_back_goes_on_rolling_back(world: World) -> None:
    world.was_rolling_back = "istiod never got Ready"
    run()
    assert world.calls == [*BRING_UP, "roll_back", *AFTER, "take_down"]


EXISTING = {"cluster": "existing", "allow_changes": True}


@pytest.mark.parametrize("fails", BRING_UP[2:-1])
def test_a_run_that_goes_on_on_a_broken_mesh_rolls_back_by_the_plan_of_before(
    world: World, fails: str
) -> None:
    world.owes, world.fails = True, fails
    run(config=EXISTING)
    traffic = AFTER if fails == "begin_upgrade_traffic" else AFTER[1:]
    done = BRING_UP[: BRING_UP.index(fails) + 1]
    assert world.calls == [*done, "roll_back", *traffic, "remove_upgrade_client", "take_down"]
    assert world.causes == ["it failed"] and world.problem is None and world.why_kept == ""


def test_a_run_that_goes_on_half_way_makes_no_plan_of_a_mesh_that_is_half_moved(world: World) -> None:
    world.owes = True
    run()
    assert "plan" not in world.calls and world.calls[-1] == "take_down" and world.problem is None


def test_a_run_that_goes_on_and_is_ended_before_it_has_a_plan_rolls_back(world: World) -> None:
    world.owes, world.fails, world.raises = True, "install_old_istio", Interrupted(15)
    run(config=EXISTING)
    assert world.calls[-3:] == ["roll_back", "remove_upgrade_client", "take_down"]


def test_what_could_not_be_taken_back_keeps_its_application_and_its_client(world: World) -> None:
    world.owes, world.fails = True, "find_istio"
    run(config=EXISTING)
    assert world.calls == ["start_cluster", "find_istio", "take_down"]
    assert "--resume r" in world.why_kept and isinstance(world.problem, IstioError)


def test_a_run_that_was_told_to_ask_asks_when_it_goes_on(world: World) -> None:
    world.asked_before = True
    run()
    assert "ask_to_go_on" in world.calls


def test_on_a_cluster_that_stays_the_client_is_removed(world: World) -> None:
    run(config={"keep": True})
    assert world.calls[-2:] == ["remove_upgrade_client", "take_down"]


def test_a_cluster_that_may_not_be_changed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for config in ({"cluster": "existing"}, {"cluster": "gke"}):
        with pytest.raises(InputError):
            flow.upgrade.fn(LabConfig.model_validate({**config, "runs_dir": tmp_path / "runs"}))
    assert list(tmp_path.iterdir()) == []
