"""Prometheus' page: built once from the module's sources, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from meshlab.clusters.local import nodejs, web_ui
from meshlab.clusters.local.compiler import Compiler
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError
from meshlab.core.progress import Update
from tests.fakes.runner import FakeRunner

BUILD = ("setpriv", "--pdeathsig", "TERM")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with Node.js, and with the module's sources, which can't be written to."""
    ui = tmp_path / "module" / "web" / "ui"
    ui.mkdir(parents=True)
    (ui / "build_ui.sh").write_text("#!/bin/bash\n")
    (ui / "build_ui.sh").chmod(0o444)
    ui.chmod(0o555)
    monkeypatch.setattr(Compiler, "source", lambda self, module: tmp_path / "module")
    monkeypatch.setattr(nodejs, "search_path", lambda machine, runner, stop: "/node")
    return Machine(
        cache=tmp_path / "cache", state=tmp_path / "state", home=tmp_path, path="/x", kubeconfig=""
    )


def part(machine: Machine) -> Path:
    """Where it is built, before it is moved to its place."""
    return web_ui.folder(machine).with_name(f"{web_ui.folder(machine).name}.part")


def building(machine: Machine, content: str = "<html>") -> Callable[[tuple[str, ...]], str]:
    """What build_ui.sh does: it writes the page beside the sources."""

    def build(words: tuple[str, ...]) -> str:
        static = part(machine) / "static" / web_ui.PAGE
        static.mkdir(parents=True)
        if content:
            (static / "index.html").write_text(content)
        return "built"

    return build


def test_it_is_built_once_and_kept(machine: Machine) -> None:
    assert web_ui.built(machine) is None
    runner = FakeRunner({(*BUILD, "npm"): "", (*BUILD, "bash", "build_ui.sh"): building(machine)})
    told: list[Update] = []
    for _ in range(2):
        static = web_ui.build(machine, runner=runner, log_dir=machine.state / "logs", progress=told.append)
        assert web_ui.built(machine) == static
    assert (static / "mantine-ui" / "index.html").read_text() == "<html>"
    assert [words[3:5] for words in runner.commands] == [
        ("npm", "ci"),
        ("npm", "rebuild"),
        ("bash", "build_ui.sh"),
    ]
    assert told[-1].percent == 100
    assert not part(machine).exists()
    assert "built" in (machine.state / "logs" / "build-prometheus-page.log").read_text()


@pytest.mark.parametrize("answers", [{"npm": 1}, {"npm": "", "bash": 1}, {"npm": "", "bash": None}])
def test_what_fails_leaves_nothing_and_names_the_log(
    machine: Machine, answers: dict[str, str | int | None]
) -> None:
    commands = {
        (*BUILD, name): building(machine, "") if answer is None else answer
        for name, answer in answers.items()
    }
    with pytest.raises(BuildError) as caught:
        web_ui.build(
            machine, runner=FakeRunner(commands), log_dir=machine.state / "logs", progress=lambda update: None
        )
    assert "build-prometheus-page.log" in caught.value.remedy
    assert web_ui.built(machine) is None
    assert not part(machine).exists()


def test_it_is_built_from_the_module_that_the_binary_is_compiled_from() -> None:
    pinned = json.dumps(dict(web_ui.pins.requirements("prometheus")))
    assert web_ui.MODULE in pinned
