"""A real Prefect server that is slow, away or killed in the middle of a run: no step stops, and nothing is lost in silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tasks.outbox import DEADLINE
from tests.fakes.slow_proxy import SlowProxy
from tests.live.prefect_side import Side, serving

ROOT = Path(__file__).parents[2]
STEPS = ("one", "two", "three")
KEYS = ("pods", "report", "checks", "queries", "versions")
ENDS = DEADLINE + 150  # seconds: Prefect's own start and its own retries at the end come on top
# A run of three steps whose second waits until it is told to go on, then the run's own end with all that it publishes.
FLOW = """
import sys
from pathlib import Path
from meshlab.cli.command import Command
from meshlab.cli.main import main
from meshlab.config.settings import LabConfig
from meshlab.run.journal import RunRef

def load():
    from prefect import flow
    from tasks.common import lab_task
    from tasks.report import publish_table
    from tasks.run import begin_run, end_run

    @lab_task("one")
    def one(run: RunRef) -> None:
        publish_table("pods", [{"pod": "a"}], "Pods")

    @lab_task("two")
    def two(run: RunRef) -> None:
        print("READY", flush=True)
        sys.stdin.readline()

    @lab_task("three")
    def three(run: RunRef) -> None: ...

    @flow(name="full-lab", persist_result=False)
    def small(config: LabConfig):
        run, _ = begin_run(config, holds=False)
        one(run); two(run); three(run)
        return end_run(run, config)

    return small

config = LabConfig(runs_dir=Path(sys.argv[1]))
sys.exit(main([], Command("small", "", decide=lambda words, machine: (config, {})), load))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """One for all tests: it takes its time to come up, and the last of them kills it."""
    with serving(tmp_path_factory.mktemp("prefect")) as side:
        yield side


class Started:
    """The flow in a process of its own, held in its second step until `go_on`."""

    def __init__(self, server: Side, url: str, folder: Path) -> None:
        own = {"PREFECT_API_URL": url, "XDG_STATE_HOME": str(folder / "state")}
        self._runs = folder / "runs"
        self._process = subprocess.Popen(
            [sys.executable, "-c", FLOW, str(self._runs)], cwd=ROOT, env={**server.environment, **own},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert any(line == "READY\n" for line in self._process.stdout)

    def go_on(self) -> float:
        """Let the run come to its end; returns the seconds that it took."""
        begun = time.monotonic()
        _, self.said = self._process.communicate("\n", timeout=ENDS)
        return time.monotonic() - begun

    @property
    def result(self) -> dict[str, Any]:
        [path] = self._runs.glob("*/result.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def steps(self) -> dict[str, str]:
        return {step["name"]: step["state"] for step in self.result["steps"]}


def published(server: Side) -> dict[str, int]:
    """Key → how many artifacts the server has."""
    counts: dict[str, int] = {}
    for each in server.post("artifacts/filter", {"limit": 200}):
        counts[each["key"]] = counts.get(each["key"], 0) + 1
    return counts


def port_of(server: Side) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


def test_a_server_that_is_slow_for_a_while_takes_everything(server: Side, tmp_path: Path) -> None:
    before = published(server)
    with SlowProxy(port_of(server)) as proxy:
        run = Started(server, f"http://127.0.0.1:{proxy.port}/api", tmp_path)
        proxy.delay = 8.0
        threading.Timer(20.0, lambda: setattr(proxy, "delay", 0.0)).start()
        run.go_on()
    assert proxy.held_back > 0, "the control: answers really were held back"
    assert run.steps() == dict.fromkeys(STEPS, "done") and "unpublished" not in run.result
    after = published(server)
    assert {key: after.get(key, 0) - before.get(key, 0) for key in KEYS} == dict.fromkeys(KEYS, 1)


def test_a_server_that_is_cut_off_for_good_is_told_and_the_run_ends(server: Side, tmp_path: Path) -> None:
    with SlowProxy(port_of(server)) as proxy:
        run = Started(server, f"http://127.0.0.1:{proxy.port}/api", tmp_path)
        proxy.dropped = True
        took = run.go_on()
    assert took < ENDS
    assert run.steps() == dict.fromkeys(STEPS, "done")
    assert {each["key"] for each in run.result["unpublished"]} == set(KEYS) - {"pods"}
    assert all(each["reason"] for each in run.result["unpublished"])


def test_a_server_that_is_killed_stops_no_step(server: Side, tmp_path: Path) -> None:
    run = Started(server, server.url, tmp_path)
    os.killpg(server.server.pid, signal.SIGKILL)
    run.go_on()
    assert run.steps() == dict.fromkeys(STEPS, "done")
    assert {each["key"] for each in run.result["unpublished"]} == set(KEYS) - {"pods"}
