"""Nights whose Prefect fails in the middle, on the kept lab: server killed, worker stopped and killed, two at once.

Prints one line per fault: at which step, what the run said, how it ended, and how many seconds past its deadline.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from meshlab.config.settings import Machine
from meshlab.core.waiting import wait
from meshlab.kube.client import Kube
from meshlab.run.ledger import Ledger
from tests.live.conftest import ROOT, Ran, command
from tests.live.prefect_side import POOL, Side, family, serving
from tests.live.test_interrupted import started_steps
from tests.live.test_night_faults import wait_gone
from tests.live.test_nightly import LONGEST, accepting, journal, kubeconfig_of

pytestmark = [pytest.mark.live, pytest.mark.long]
DEPLOYMENT = "nightly-validation/nightly-validation"
STEP = "check-istio"  # the middle of a night: everything stands, nothing was measured yet


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    with serving(tmp_path / "prefect") as found:
        yield found


@pytest.fixture
def deployed(side: Side) -> Side:
    """The repository's own deployment of the night, on this server; its schedule off."""
    side.prefect("--no-prompt", "work-pool", "create", POOL, "--type", "process")
    side.prefect("--no-prompt", "deploy", "--name", "nightly-validation")
    side.pause_schedules()
    return side


@pytest.fixture
def kube(kept_lab: Ran) -> Kube:
    return Kube.connect(kubeconfig_of(kept_lab), None)


def settings(kept_lab: Ran, folder: Path) -> dict[str, Any]:
    """A night's settings, as the deployment's parameter."""
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    own = accepting(folder / "runs", folder / "history.sqlite")
    return {**own, "cluster": "existing", "existing": {"kubeconfig": str(kubeconfig_of(kept_lab))}}


def reached(runs: Path, step: str = STEP, night: subprocess.Popen[str] | None = None) -> None:
    """Wait until the night is in that step. night: its process, where it is the test's own."""

    def steps() -> set[str]:
        if night is not None and night.poll() is not None:
            pytest.fail(f"the night has ended: {night.communicate()[0][-4000:]}")
        return started_steps(runs)

    wait(
        f"step {step}",
        steps,
        ready=lambda steps: step in steps,
        describe=lambda steps: f"{len(steps)} steps",
        timeout=LONGEST,
        delay=0.2,
    )


def result_of(runs: Path) -> dict[str, Any]:
    [path] = runs.glob("*/result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def tell(fault: str, step: str, said: str, ended: str, began: float) -> None:
    """A line of the table in docs/nights.md."""
    past = max(0.0, time.monotonic() - began - LONGEST)
    print(f"\n| {fault} | {step} | {said} | {ended} | {past:.0f} |")


def test_the_server_is_killed_and_the_night_goes_on(
    side: Side, kept_lab: Ran, kube: Kube, tmp_path: Path
) -> None:
    given, runs, began = settings(kept_lab, tmp_path), tmp_path / "runs", time.monotonic()
    (tmp_path / "night.yaml").write_text(json.dumps(given))
    night = subprocess.Popen(
        command("--config", str(tmp_path / "night.yaml"), module="flows.nightly"), cwd=ROOT, text=True,
        env=side.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    reached(runs, night=night)
    for process in family(side.server):
        process.send_signal(signal.SIGKILL)
    output, _ = night.communicate(timeout=LONGEST)
    seen = time.time()
    result = result_of(runs)
    assert night.returncode == 0 and result["verdict"] == "pass", output[-6000:]
    wait_gone(kube)
    said = next(line for line in output.splitlines() if "Prefect was not told" in line).strip(" !")
    tell("Prefect's server killed (-9)", STEP, said, f"exit code {night.returncode}", began)
    [directory] = runs.iterdir()
    print(f"from the written result to the exit: {seen - (directory / 'result.json').stat().st_mtime:.0f} s")


def strike_worker(side: Side, given: dict[str, Any], runs: Path, signum: signal.Signals) -> str:
    """Send the worker of a night a signal; returns the flow run when both have gone."""
    with side.worker() as worker:
        run = side.start_run(DEPLOYMENT, {"config": given})
        reached(runs)
        below = family(worker)[1:]
        worker.send_signal(signum)
        worker.wait(LONGEST)
        _, alive = psutil.wait_procs(below, timeout=LONGEST)
        assert alive == [], "the night's process goes on"
    return run


def test_the_worker_is_killed_and_the_night_leaves_in_order(
    deployed: Side, kept_lab: Ran, kube: Kube, tmp_path: Path
) -> None:
    began, runs = time.monotonic(), tmp_path / "runs"
    run = strike_worker(deployed, settings(kept_lab, tmp_path), runs, signal.SIGKILL)
    state, result = deployed.final(run, timeout=60), result_of(runs)
    assert state["type"] == "CRASHED" and result["verdict"] == "error", state
    wait_gone(kube)
    said = next(step["reason"] for step in result["steps"] if step["name"] == "flow")
    assert "the Prefect worker that started it is gone" in said
    tell("worker killed (-9)", STEP, said, state["type"], began)


def test_the_worker_is_stopped_and_prefect_kills_the_night_whose_rest_a_teardown_removes(
    deployed: Side, kept_lab: Ran, kube: Kube, tmp_path: Path
) -> None:
    """Prefect ends the run's process with kill -9 when its worker is stopped: nothing of ours can run any more."""
    began, runs = time.monotonic(), tmp_path / "runs"
    run = strike_worker(deployed, settings(kept_lab, tmp_path), runs, signal.SIGTERM)
    [directory] = runs.iterdir()
    assert not (directory / "result.json").exists() and deployed.state(run)["type"] == "RUNNING"
    assert kube.get("v1", "Namespace", "meshlab") is not None, (
        "the control: the killed night leaves something"
    )
    words = ["--run", directory.name, "--cluster", "existing", "--kubeconfig", str(kubeconfig_of(kept_lab))]
    removed = subprocess.run(
        command(*words, "--runs-dir", str(tmp_path / "teardown"), module="flows.teardown"), cwd=ROOT,
        env=deployed.environment, capture_output=True, text=True, check=False, timeout=LONGEST,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert removed.returncode == 0, removed.stdout[-6000:] + removed.stderr[-2000:]
    wait_gone(kube)
    assert Ledger.of(Machine.here(), directory.name) is None
    state = deployed.state(run)
    assert state["type"] == "CRASHED", state
    tell("worker SIGTERM", STEP, str(state["message"]), f"{state['type']}, told by the next run", began)


def test_two_nights_of_one_deployment(deployed: Side, kept_lab: Ran, kube: Kube, tmp_path: Path) -> None:
    began, runs = time.monotonic(), tmp_path / "runs"
    given = {"config": settings(kept_lab, tmp_path)}
    with deployed.worker():
        first = deployed.start_run(DEPLOYMENT, given)
        reached(runs, "start-cluster")
        second = deployed.final(deployed.start_run(DEPLOYMENT, given), timeout=LONGEST)
        assert second["type"] == "CANCELLED" and "concurrency limit" in second["message"], second
        state = deployed.final(first, timeout=LONGEST)
    assert state["type"] == "COMPLETED", state
    [directory] = runs.iterdir()  # the second one made none
    assert journal(directory, "ended")
    wait_gone(kube)
    tell("two nights of one deployment", "start-cluster", second["message"], second["type"], began)
