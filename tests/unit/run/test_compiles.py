"""What a run compiles is in its journal, and nothing of it where all is compiled already."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.local import web_ui
from meshlab.clusters.local.compiler import Compiler
from meshlab.clusters.local.pins import STAGES
from meshlab.core.progress import Update
from meshlab.run.compiles import COMPILE, noting_compiles
from meshlab.run.journal import RunRef, create, listening, read_journal
from tests.fakes.runner import FakeRunner


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "full-lab")


def noted(run: RunRef) -> list[tuple[str, str]]:
    return [(each["what"], each["state"]) for each in read_journal(run) if each["event"] == COMPILE]


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_s_compile_is_noted_once_when_it_begins_and_once_when_it_ends(
    run: RunRef, tmp_path: Path, stage: str
) -> None:
    progress = noting_compiles(run)
    compiler = Compiler(STAGES[stage], FakeRunner(), "/usr/bin", tmp_path / "log", progress)
    for said in (("looking up",), ("2 packages", 0, 3), ("about 2 min left", 1, 3), ("done", 3, 3)):
        compiler.tell(*said)
    assert noted(run) == [(f"compile {stage}", "started"), (f"compile {stage}", "done")]


def test_what_is_compiled_already_is_not_noted(run: RunRef, tmp_path: Path) -> None:
    progress = noting_compiles(run)
    Compiler(STAGES["jaeger"], FakeRunner(), "/usr/bin", tmp_path / "log", progress).tell("done", 1, 1)
    progress(Update("start the cluster", 1, 9))
    progress(Update("deployments of default", detail="compile it yourself"))
    assert noted(run) == []


def test_the_build_of_a_page_counts_too(run: RunRef) -> None:
    progress = noting_compiles(run)
    for done in range(3):
        progress(Update(web_ui.WHAT, done, 2))
    assert noted(run) == [(web_ui.WHAT, "started"), (web_ui.WHAT, "done")]


def test_the_reports_go_on_to_whoever_looks(run: RunRef) -> None:
    seen: list[Update] = []
    with listening(updates=seen.append):
        noting_compiles(run)(Update("compile jaeger", 1, 3, "x"))
    assert seen == [Update("compile jaeger", 1, 3, "x")]
