"""Runs that are cut off: by a signal they take the lab down themselves, by kill -9 the next command does."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.live import host
from tests.live.conftest import LAB, ROOT, Ran, command, down, run_lab

pytestmark = pytest.mark.live


def started_steps(runs_dir: Path) -> set[str]:
    """Steps that the run under way has begun, from its journal."""
    steps = set()
    for journal in runs_dir.glob("*/evidence/journal.jsonl"):
        for line in journal.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "step":
                steps.add(event["name"])
    return steps


def begin(runs_dir: Path, reached: Callable[[], bool]) -> subprocess.Popen[str]:
    """Start a lab and return when it has come as far as asked. A new process, so that SIGINT is not inherited as ignored."""
    return follow(command("--runs-dir", str(runs_dir), *LAB), reached)


def follow(
    words: list[str],
    reached: Callable[[], bool],
    *,
    seconds: float = 600,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a command and return when it has come as far as asked. env: of its process; ours where not given."""
    process = subprocess.Popen(
        words, cwd=ROOT, env=env, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, process.communicate()[0][-4000:]
        assert time.monotonic() < deadline, "the run did not come that far"
        time.sleep(0.05)
    return process


def test_sigterm_takes_the_lab_down(clean_host: dict[str, list[str]], tmp_path: Path) -> None:
    process = begin(tmp_path, lambda: "install-istio" in started_steps(tmp_path))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 143, output[-4000:]
    assert host.difference(clean_host, host.snapshot()) == {}
    result = json.loads(next(tmp_path.glob("*/result.json")).read_text())
    assert result["verdict"] == "error"
    assert next(step for step in result["steps"] if step["name"] == "install-istio")["state"] == "failed"


def test_sigint_before_the_flow_stops_the_cluster_that_comes_up(
    clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    process = begin(tmp_path, lambda: any(tmp_path.glob("*/evidence/cluster-up.jsonl")))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 130, output[-4000:]
    assert host.difference(clean_host, host.snapshot()) == {}


@pytest.mark.parametrize("step", ["start-cluster", "install-istio"])
def test_down_removes_what_a_killed_run_left(
    step: str, clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    reached = {
        "start-cluster": lambda: any(
            "components" in f.read_text() for f in tmp_path.glob("*/evidence/cluster-up.jsonl")
        ),
        "install-istio": lambda: "install-istio" in started_steps(tmp_path),
    }[step]
    process = begin(tmp_path, reached)
    process.kill()
    process.wait()
    assert host.difference(clean_host, host.snapshot()) != {}, "the control: a killed run leaves something"
    removed = down()
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert host.difference(clean_host, host.snapshot()) == {}


def test_a_new_lab_passes_over_what_a_killed_one_left(
    clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    process = begin(tmp_path / "killed", lambda: "fast-load" in started_steps(tmp_path / "killed"))
    process.kill()
    process.wait()
    ran: Ran = run_lab(tmp_path / "runs")
    assert ran.code == 0, ran.output[-6000:]
    assert host.difference(clean_host, host.snapshot()) == {}
