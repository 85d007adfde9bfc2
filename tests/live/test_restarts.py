"""Restarts under load on the living lab: none of the requests fails, and where one does it is said why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.app.bookinfo import DETAILS
from meshlab.app.bookinfo import Workload as App
from meshlab.app.deployment import with_images
from meshlab.checks import live_restarts, restarts
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio.facts import read_facts
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.run.results import CheckResult, Verdict
from tests.live.conftest import NAME, Ran

pytestmark = [pytest.mark.live, pytest.mark.long]
NAMESPACE = "default"


@pytest.fixture
def kube(kept_lab: Ran, machine: Machine) -> Kube:
    return Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)


@pytest.fixture
def changes(kube: Kube, tmp_path: Path) -> Iterator[Changes]:
    run = create(tmp_path, "test")
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path)}), run)
    with Changes(kube, ledger, run) as made:
        yield made
    assert ledger.entries() == ()


def made(kube: Kube, changes: Changes, alter: Any = lambda app: None) -> CheckResult:
    mesh = read_facts(kube, NAMESPACE)
    restarted = live_restarts.restart_all(kube, mesh, timeout=180, alter=alter)
    job = live_restarts.run_job(
        kube, changes, mesh, images=lambda found: with_images(kube, LabConfig(), found, ())
    )
    return restarts.no_failed_request(restarted, job)


def test_restarts_fail_no_request_and_a_job_ends(kube: Kube, changes: Changes) -> None:
    found = made(kube, changes)
    assert found.verdict is Verdict.PASS, found
    assert [row["workload"] for row in found.evidence["workloads"]] == [
        app.name for app in live_restarts.PATHS
    ]
    assert all(row["requests"] >= 100 and row["new pods"] >= 1 for row in found.evidence["workloads"])
    assert found.evidence["job"]["condition"] == "Complete" and found.evidence["job"]["with a sidecar"]


def test_a_workload_that_stops_before_its_successor_is_there_turns_it_red(
    kube: Kube, changes: Changes
) -> None:
    def recreate(app: App) -> None:
        if app == DETAILS:
            ref = ObjectRef("apps/v1", "Deployment", NAMESPACE, app.name)
            changes.patch(ref, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}})

    found = made(kube, changes, recreate)
    changes.restore()
    wait_deployments(kube, NAMESPACE, [DETAILS.name], timeout=120)
    assert found.verdict is Verdict.FAIL and found.summary.startswith(f"{DETAILS.name}: "), found
    rows = found.evidence["failed requests"]
    assert rows and {row["workload"] for row in rows} == {DETAILS.name}
    assert any(row["cause"].startswith(("readiness", "drain")) for row in rows), rows
