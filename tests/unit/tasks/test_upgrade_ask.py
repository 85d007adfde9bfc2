"""--ask: the question on a terminal and as a pause in Prefect, what ends it, and that a run which goes on still asks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import FlowPauseTimeout, NotPausedError

from meshlab.cli import upgrade as cli
from meshlab.core.errors import IstioError
from meshlab.istio.upgrade import Move, UpgradePlan
from meshlab.lifecycle import resume
from meshlab.run.journal import RunRef, create, read_journal, step
from tasks import upgrade_again, upgrade_ask
from tasks.upgrade_again import keep_ask
from tasks.upgrade_ask import ask_to_go_on

MOVES = tuple(Move(name, {}, ()) for name in ("bank", "shop"))
PLAN = UpgradePlan("home", "default", "1.30.0", "1-31-0", "1.31.0", ("default",), MOVES, ())
BROKEN = "the error budget of the upgrade is broken: 4 requests failed one after the other"


class FakePrefect:
    """A deployment's run: its pause ends when it is resumed, by whomever.

    ends: what the pause does in place of waiting. refusals: so many times a resume comes before the pause is there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.id = uuid4()
        self.ends: Callable[[], None] | None = None
        self.refusals = 0
        self.resumed = threading.Event()
        monkeypatch.setattr(upgrade_ask, "deployment", SimpleNamespace(id="d"))
        monkeypatch.setattr(upgrade_ask, "flow_run", SimpleNamespace(id=str(self.id)))
        monkeypatch.setattr(upgrade_ask, "pause_flow_run", self.pause)
        monkeypatch.setattr(upgrade_ask, "resume_flow_run", self.resume)
        monkeypatch.setattr(upgrade_ask, "LOOK_EVERY", 0.001)

    def pause(self, *, timeout: int, poll_interval: int, key: str) -> None:
        assert (timeout, key) == (3600, "ask")
        if self.ends is not None:
            self.ends()
        else:
            assert self.resumed.wait(30), "nobody ended the pause"

    def resume(self, flow_run_id: UUID) -> None:
        assert flow_run_id == self.id
        if self.refusals:
            self.refusals -= 1
            raise NotPausedError("not yet")
        self.resumed.set()


class Traffic:
    """Stands in for the error budget: broken from so many looks on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holds_for: int | None = None
        self.looks = 0
        monkeypatch.setattr(upgrade_ask, "check_budget", self.check)

    def check(self, run: RunRef) -> None:
        self.looks += 1
        if self.holds_for is not None and self.looks > self.holds_for:
            raise IstioError(BROKEN)


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "upgrade")


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> FakePrefect:
    return FakePrefect(monkeypatch)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    return Traffic(monkeypatch)


def ask_state(run: RunRef) -> list[str]:
    return [each["state"] for each in read_journal(run) if each["event"] == "step" and each["name"] == "ask"]


def raise_(problem: Exception) -> None:
    raise problem


def test_a_flow_run_that_is_resumed_goes_on(run: RunRef, prefect: FakePrefect, traffic: Traffic) -> None:
    prefect.ends = lambda: None
    ask_to_go_on(run, PLAN, "shop")
    assert ask_state(run) == ["started", "done"]
    [told] = [each["text"] for each in read_journal(run) if each["event"] == "warning"]
    assert "bank" in told and "shop" in told


def test_a_pause_that_nobody_ends_is_a_no(run: RunRef, prefect: FakePrefect, traffic: Traffic) -> None:
    prefect.ends = lambda: raise_(FlowPauseTimeout("never resumed"))
    with pytest.raises(IstioError, match="nobody resumed the flow run within 3600 s"):
        ask_to_go_on(run, PLAN, "shop")
    assert ask_state(run) == ["started", "failed"]


def test_a_pause_that_prefect_refuses_is_no_yes(run: RunRef, prefect: FakePrefect, traffic: Traffic) -> None:
    prefect.ends = lambda: raise_(RuntimeError("Flow run cannot be paused"))
    with pytest.raises(RuntimeError):
        ask_to_go_on(run, PLAN, "shop")
    assert ask_state(run) == ["started", "failed"]


def test_a_broken_budget_ends_the_pause_also_before_prefect_has_it(
    run: RunRef, prefect: FakePrefect, traffic: Traffic
) -> None:
    prefect.refusals, traffic.holds_for = 2, 3
    with pytest.raises(IstioError, match=BROKEN):
        ask_to_go_on(run, PLAN, "shop")
    assert prefect.resumed.is_set() and ask_state(run) == ["started", "failed"]
    assert any(BROKEN in str(each.get("text")) for each in read_journal(run))


def test_a_yes_on_a_mesh_that_is_broken_by_then_is_no_yes(
    run: RunRef, prefect: FakePrefect, traffic: Traffic
) -> None:
    prefect.ends, traffic.holds_for = lambda: None, 0
    with pytest.raises(IstioError, match=BROKEN):
        ask_to_go_on(run, PLAN, "shop")


def test_on_the_command_line_the_terminal_is_asked(
    run: RunRef, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade_ask, "deployment", SimpleNamespace(id=None))
    for answer, yes in (("", True), ("the answer was n", False)):
        monkeypatch.setattr(upgrade_ask, "confirm", lambda *_, check, why=answer: check() or why)
        if yes:
            ask_to_go_on(run, PLAN, "shop")
        else:
            with pytest.raises(IstioError, match="the answer was n"):
                ask_to_go_on(run, PLAN, "shop")


def test_who_said_yes_is_not_asked_again_and_who_was_cut_off_is(
    run: RunRef, prefect: FakePrefect, traffic: Traffic
) -> None:
    with step(run, "ask"):
        pass
    resume.begin(run)
    prefect.ends = lambda: raise_(AssertionError("asked again"))
    ask_to_go_on(run, PLAN, "shop")
    resume.begin(run, "ask")  # --from ask: that yes is not trusted
    with pytest.raises(AssertionError):
        ask_to_go_on(run, PLAN, "shop")
    resume.begin(run)  # the question was cut off
    with pytest.raises(AssertionError):
        ask_to_go_on(run, PLAN, "shop")


def test_what_a_run_was_told_to_ask_it_asks_in_each_of_its_lives(run: RunRef) -> None:
    assert not keep_ask(run, False)
    assert keep_ask(run, True)
    assert keep_ask(run, False)
    (run.evidence / upgrade_again.FILE).write_text("{")  # cut off while it was written
    assert keep_ask(run, False)


@pytest.mark.parametrize(("said", "yes"), [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False)])
def test_a_question_on_the_terminal(said: str, yes: bool) -> None:
    reading, writing = os.pipe()
    os.write(writing, said.encode())
    with os.fdopen(reading) as answers:
        assert (cli.confirm("go on?", answers, timeout=5) == "") is yes
    os.close(writing)


def test_no_answer_is_a_no() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as answers:
        assert "nobody answered" in cli.confirm("go on?", answers, timeout=0)
        os.close(writing)
        assert "no terminal" in cli.confirm("go on?", answers, timeout=5)


def test_what_happens_meanwhile_ends_the_question_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "LOOK_EVERY", 0.001)
    looks: list[int] = []

    def check() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise IstioError(BROKEN)

    reading, writing = os.pipe()
    with os.fdopen(reading) as answers, pytest.raises(IstioError, match=BROKEN):
        cli.confirm("go on?", answers, check=check)
    os.close(writing)
