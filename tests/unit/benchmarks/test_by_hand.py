"""The document by hand: each step is timed, the whole is all of them, and a command that fails ends it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import lab_by_hand

PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
$FAILING) exit 1 ;;
*'get deployments'*) echo 'deployment.apps/sleep deployment.apps/productpage-v1' ;;
esac
"""


def _run(folder: Path, failing: str = "nothing") -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script with programs that only note how they were called; `sleep` is one of them."""
    (folder / "bin").mkdir()
    for name in ("kubectl", "istioctl", "python", "sleep"):
        path = folder / "bin" / name
        path.write_text(PROGRAM.replace("$FAILING", failing))
        path.chmod(0o755)
    programs = {name.upper(): folder / "bin" / name for name in ("kubectl", "istioctl", "python")}
    settings = {**programs, "NAME": "mesh", "NETWORK": "10.1", "KUBECONFIG": folder / "kubeconfig"}
    (folder / "settings").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    env = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(folder / "calls")}
    done = subprocess.run(
        ["sh", str(lab_by_hand.SCRIPT), str(folder)], env=env, capture_output=True, text=True, timeout=60
    )
    return done, (folder / "calls").read_text().splitlines()


def test_the_whole_is_all_steps_and_the_loops_are_the_documents(tmp_path: Path) -> None:
    done, calls = _run(tmp_path)
    assert done.returncode == 0, done.stderr
    said = lab_by_hand.read(done.stdout)
    whole = said.pop("whole")
    assert next(iter(said)) == "up" and list(said)[-1] == "down"
    assert whole >= sum(said.values())
    assert sum("productpage:9080" in call for call in calls) == 67 + 7
    assert calls.count("sleep 0.3") == 67 and calls.count("sleep 1.5") == 7
    assert sum(call.startswith("sleep") for call in calls) == 74, "nothing else sleeps"
    assert sum("rollout status" in call for call in calls) == 2 + 2


@pytest.mark.parametrize(
    "failing",
    [
        "*' install '*",
        "*'label namespace'*",
        "*'apply -f bookinfo.json'",
        "*'rollout status'*' deployment.apps/sleep'",
        "*'apply -f prometheus.json'",
        "*' exec '*",
        "*'query=istio_requests_total'",
        "*' uninstall '*",
    ],
)
def test_a_command_that_fails_ends_it(tmp_path: Path, failing: str) -> None:
    done, _ = _run(tmp_path, failing)
    assert done.returncode == 1
    assert "whole" not in done.stdout
