"""Which Node.js builds the page, and what is done where the machine has none that will do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from meshlab.clusters.local import nodejs
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError, ProcessError
from tests.fakes.runner import FakeRunner


def machine(tmp_path: Path, *programs: str) -> Machine:
    """A machine whose PATH has these programs and no other."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in programs:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return Machine(
        cache=tmp_path / "cache", state=tmp_path / "state", home=tmp_path, path=str(folder), kubeconfig=""
    )


def test_the_machines_own_is_taken_where_it_is_new_enough(tmp_path: Path) -> None:
    here = machine(tmp_path, "node", "npm")
    runner = FakeRunner({(str(tmp_path / "bin" / "node"), "--version"): "v18.19.0\n"})
    assert nodejs.search_path(here, runner) == here.path


@pytest.mark.parametrize(
    ("programs", "version"), [((), ""), (("node",), ""), (("node", "npm"), "v16.20.2\n")]
)
def test_else_the_pinned_one_is_installed_once(
    tmp_path: Path, programs: tuple[str, ...], version: str
) -> None:
    here = machine(tmp_path, *programs)
    runner = FakeRunner(
        {
            (str(tmp_path / "bin" / "node"), "--version"): version,
            (sys.executable, "-m", "pip", "install"): "",
        }
    )
    first, second = (nodejs.search_path(here, runner) for _ in range(2))
    assert first == second
    installed = Path(first.partition(":")[0])
    assert installed.is_relative_to(here.cache) and first.endswith(f":{here.path}")
    assert (installed / "npm").stat().st_mode & 0o111 and (installed / "node").is_symlink()
    (pip,) = [words for words in runner.commands if "pip" in words]
    assert "--require-hashes" in pip and str(nodejs.LOCK) in pip


def test_where_it_cannot_be_installed_the_error_says_what_would_do(tmp_path: Path) -> None:
    def refuse(words: tuple[str, ...]) -> str:
        raise ProcessError("no index answers", argv=words)

    runner = FakeRunner({(sys.executable, "-m", "pip", "install"): refuse})
    with pytest.raises(BuildError, match="no index answers") as caught:
        nodejs.search_path(machine(tmp_path), runner)
    assert "18" in caught.value.remedy
