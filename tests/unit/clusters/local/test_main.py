from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from meshlab.clusters.local import __main__ as command
from meshlab.clusters.local import inventory
from meshlab.clusters.local.state import State
from meshlab.config.settings import Machine
from meshlab.core.errors import Problem
from meshlab.core.progress import Update
from tests.unit.clusters.local.cluster_fixtures import layout_in, machine_in

NAMES = ("--name", "unit", "--network", "10.250")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command with folders of the test, without its signal handlers."""
    monkeypatch.setattr(Machine, "here", lambda: machine_in(tmp_path))
    monkeypatch.setattr(command, "signals_set", lambda stop: [])
    monkeypatch.setattr(inventory, "NETNS_DIR", tmp_path / "netns")
    monkeypatch.setattr(command, "end_servers", list)  # those of this machine are no business of a test
    return lambda *words: command.main([*words])


def test_down_without_a_cluster_is_fine_twice(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("down", *NAMES) == 0
    assert run("down", *NAMES) == 0
    assert "cluster unit: nothing left" in capsys.readouterr().out


def test_bad_input_is_2_and_names_every_problem(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert run("up", "--name", "Not A Name", "--nodes", "9") == 2
    said = capsys.readouterr().err
    assert "name" in said and "nodes" in said
    found = [Problem("a", "is bad", "mend it"), Problem("b", "is worse", "leave it")]
    monkeypatch.setattr(command, "problems", lambda *_: found)
    assert run("up", *NAMES) == 2
    said = capsys.readouterr().err
    assert "2 problems" in said and "is bad" in said and "is worse" in said
    assert not (tmp_path / "state").exists(), "nothing was touched"


def test_a_cluster_of_another_living_run_is_not_removed(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    State(layout_in(tmp_path)).claim("run-9")
    assert run("down", *NAMES) == 3
    assert "run-9" in capsys.readouterr().err


def test_status_tells_what_is_there(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", *NAMES) == 0
    said = capsys.readouterr().out
    assert "not running" in said and "0 processes" in said


def test_lines_say_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = command.Lines()
    for detail in ("one", "one", "two"):
        lines(Update("compile", 1, 4, detail))
    said = capsys.readouterr().out.splitlines()
    assert [line.split("s  ")[1] for line in said] == ["compile: 25 % one", "compile: 25 % two"]
