"""A real Prefect server that is killed in the middle of a flow: every task of it still runs, and nothing hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.core.waiting import wait
from tests.live.prefect_side import Side, serving

ROOT = Path(__file__).parents[2]
TASKS = 5
ENDS = 300  # seconds: with Prefect's own retries the end alone took 42, and with tags it never came
# Five tasks with tags, the later ones with tags that were never asked for before; the third kills the server, if told to.
FLOW = """
import os, signal, sys
from pathlib import Path
from prefect import flow
from prefect.runtime import flow_run
from meshlab.run.journal import RunRef, create
from tasks.common import lab_task
from tasks.report import publish_table

def numbered(number):
    @lab_task(f"task-{number}", tags=("check", f"tag-{number}"))
    def one(run: RunRef) -> None:
        if number == 2 and len(sys.argv) > 2:
            os.killpg(int(sys.argv[2]), signal.SIGKILL)
    return one

@flow
def small():
    run = create(Path(sys.argv[1]), "small")
    (run.directory / "flow-run").write_text(str(flow_run.id))
    for number in range(5):
        if number % 2:
            numbered(number).submit(run).result()
        else:
            numbered(number)(run)
    publish_table("checks", [], "Checks")

small()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """One for both tests: it takes its time to come up, and the last of them kills it."""
    with serving(tmp_path_factory.mktemp("prefect")) as side:
        yield side


def run_flow(server: Side, runs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the flow in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", FLOW, str(runs), *words],
        cwd=ROOT, env=server.environment, text=True, capture_output=True, timeout=ENDS, check=False,
    )  # fmt: skip


def steps_done(runs: Path) -> list[str]:
    """Names of the steps that the one run's journal holds as done."""
    [journal] = runs.glob("*/evidence/journal.jsonl")
    events: list[dict[str, Any]] = [json.loads(line) for line in journal.read_text().splitlines()]
    return [event["name"] for event in events if event["event"] == "step" and event["state"] == "done"]


def test_the_runs_of_tasks_have_their_tags_on_the_server(server: Side, tmp_path: Path) -> None:
    done = run_flow(server, tmp_path / "runs")
    assert done.returncode == 0, done.stderr[-4000:]
    [told] = (tmp_path / "runs").glob("*/flow-run")
    of_the_flow = {"flow_runs": {"id": {"any_": [told.read_text()]}}}
    found = wait(
        "the task runs, which the server writes down in batches",
        lambda: server.post("task_runs/filter", of_the_flow),
        ready=lambda runs: len(runs) == TASKS,
        describe=lambda runs: f"{len(runs)} of {TASKS}",
        timeout=ENDS,
    )
    tags = {each["name"].rpartition("-")[0]: set(each["tags"]) for each in found}
    assert tags == {f"task-{number}": {"check", f"tag-{number}"} for number in range(TASKS)}


def test_a_server_that_is_killed_in_the_middle_stops_no_task_and_the_end_comes(
    server: Side, tmp_path: Path
) -> None:
    done = run_flow(server, tmp_path / "runs", str(server.server.pid))
    assert steps_done(tmp_path / "runs") == [f"task-{number}" for number in range(TASKS)], done.stderr[-4000:]
    assert "artifact checks is not published" in done.stderr and "does not answer" in done.stderr
    assert done.returncode == 1 and "ConnectError" in done.stderr  # Prefect could not be told of the end
