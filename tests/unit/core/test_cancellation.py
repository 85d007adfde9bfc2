"""How a run ends the steps that go on beside its main part."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path

import pytest

from meshlab.core.cancellation import cancel, stopping, track
from meshlab.core.errors import MeshlabError, ProcessError
from meshlab.core.process import SystemRunner
from meshlab.core.waiting import wait


def beside(run_id: str, work: Callable[[], object]) -> tuple[threading.Thread, list[MeshlabError]]:
    """A step in a thread of its own; returns when it goes on. What it raised is in the list."""
    began, raised = threading.Event(), []

    def step() -> None:
        try:
            with track(run_id, "deploy"):
                began.set()
                work()
        except MeshlabError as problem:
            raised.append(problem)

    thread = threading.Thread(target=copy_context().run, args=(step,), daemon=True)
    thread.start()
    assert began.wait(30)
    return thread, raised


def never(run_id: str) -> object:
    return wait("pods that never come", lambda: False, ready=bool, timeout=600)


def test_a_wait_beside_is_ended_and_names_what_was_awaited() -> None:
    thread, raised = beside("r-wait", lambda: never("r-wait"))
    assert cancel("r-wait", timeout=60) == ()
    thread.join(60)
    [problem] = raised
    assert isinstance(problem, MeshlabError) and not problem.retryable
    assert "pods that never come was ended, because the run ends; last seen: False" in problem.message


def test_a_command_beside_is_ended(tmp_path: Path) -> None:
    thread, raised = beside("r-run", lambda: SystemRunner().run(["sleep", "600"], timeout=900))
    assert cancel("r-run", timeout=60) == ()
    thread.join(60)
    assert isinstance(raised[0], ProcessError) and "was stopped" in raised[0].message


def test_after_the_end_only_the_teardown_begins_steps() -> None:
    before = copy_context()

    def late() -> None:
        with track("r-late", "deploy"):
            raise AssertionError("a step began after the end")

    def teardown() -> bool:
        cancel("r-late")
        with track("r-late", "remove"):
            assert stopping() is None
            return wait("it", lambda: True, ready=bool, timeout=1)

    assert copy_context().run(teardown)
    with pytest.raises(MeshlabError, match="deploy"):
        before.run(late)
    with track("another run", "deploy"):
        assert stopping() is not None


def test_a_step_that_can_not_be_stopped_is_named() -> None:
    go_on = threading.Event()
    thread, _ = beside("r-deaf", lambda: go_on.wait(60))
    try:
        assert copy_context().run(cancel, "r-deaf", timeout=0.01) == ("deploy",)
    finally:
        go_on.set()
        thread.join(60)
