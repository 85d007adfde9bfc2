"""Faults in the living lab: caught by exactly the checks that they name, and gone afterwards, also after kill -9."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from meshlab.config.settings import Machine
from meshlab.faults.faults import FAULTS
from meshlab.kube import fingerprint
from meshlab.kube.client import Kube
from tests.live.conftest import LAB, NAME, ROOT, Ran, command, differs, run_lab

pytestmark = pytest.mark.live
MODULE = "flows.sabotage"
QUICK = ("wrong-service-account", "delay-500-ms", "egress-opened")


@pytest.fixture
def kube(kept_lab: Ran, machine: Machine) -> Kube:
    return Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)


def caught(ran: Ran, names: tuple[str, ...]) -> None:
    """Every fault was caught, by its declared checks alone, and the lab is as it was."""
    assert ran.code == 0, ran.output[-6000:]
    catches = {catch["fault"]: catch for catch in ran.result["catches"]}
    assert set(catches) == set(names)
    for catch in catches.values():
        assert set(catch["must"]) <= set(catch["red"]) <= {*catch["must"], *catch["may"]}
        assert catch["restored"] is True
    for check_id in ("sabotage.baseline", "sabotage.control", *(f"sabotage.{name}" for name in names)):
        assert ran.check(check_id)["verdict"] == "pass"


def test_three_faults_are_caught_and_leave_nothing(kube: Kube, tmp_path: Path) -> None:
    before = fingerprint.take(kube)
    words = [word for name in QUICK for word in ("--only", name)]
    ran = run_lab(tmp_path / "runs", *words, module=MODULE)
    caught(ran, QUICK)
    assert ran.directory is not None
    assert differs("sabotage", ran.directory) == []
    assert "the lab was up before the run" in ran.check("teardown.nothing-left")["reason"]
    assert fingerprint.difference(before, fingerprint.take(kube)) == ()
    assert len(before) > 50


@pytest.mark.long
def test_every_fault_is_caught(kube: Kube, tmp_path: Path) -> None:
    before = fingerprint.take(kube)
    ran = run_lab(tmp_path / "runs", "--set", "security.gateway_api=true", module=MODULE)
    caught(ran, tuple(fault.name for fault in FAULTS if not fault.last))  # those need a lab that goes
    assert len(ran.result["catches"]) >= 16
    assert fingerprint.difference(before, fingerprint.take(kube)) == ()


@pytest.mark.long
def test_what_a_killed_run_has_planted_is_put_back_by_the_next(kube: Kube, tmp_path: Path) -> None:
    before = fingerprint.take(kube)
    runs = tmp_path / "killed"
    runs.mkdir()
    killed = subprocess.Popen(
        command("--runs-dir", str(runs), *LAB, "--only", "rejected-configuration", module=MODULE),
        cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not planted(runs):
        assert killed.poll() is None, killed.communicate()[0][-4000:]
        assert time.monotonic() < deadline, "no fault was planted"
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert fingerprint.difference(before, fingerprint.take(kube)) != (), "the control: the fault is there"
    ran = run_lab(tmp_path / "runs", "--only", QUICK[0], module=MODULE)
    caught(ran, QUICK[:1])
    assert fingerprint.difference(before, fingerprint.take(kube)) == ()


def planted(runs: Path) -> bool:
    """Whether a round of the run under way has its fault planted."""
    for journal in runs.glob("*/evidence/rounds/*/evidence/journal.jsonl"):
        for line in journal.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "step" and (event["name"], event["state"]) == ("plant", "done"):
                return True
    return False
