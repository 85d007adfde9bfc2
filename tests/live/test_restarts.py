"""Restarts under load on the living lab: with probes and hooks none fails, without them the causes are told; a Job ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.app import bookinfo
from meshlab.app.deployment import put_up, with_images
from meshlab.app.graceful import graceful
from meshlab.checks import live_restarts, restarts
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio.distribution import locate
from meshlab.istio.facts import read_facts
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
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


def made(kube: Kube, changes: Changes) -> CheckResult:
    mesh = read_facts(kube, NAMESPACE)
    restarted = live_restarts.restart_all(kube, mesh, timeout=180)
    job = live_restarts.run_job(
        kube, changes, mesh, images=lambda found: with_images(kube, LabConfig(), found, ())
    )
    return restarts.no_failed_request(restarted, job)


def test_workloads_without_a_readiness_probe_fail_requests_and_it_is_said_why(
    kube: Kube, changes: Changes
) -> None:
    """Istio's samples have no readiness probe and no preStop hook: a pod is Ready before its application listens."""
    found = made(kube, changes)
    assert found.verdict is Verdict.FAIL, found
    assert [row["workload"] for row in found.evidence["workloads"]] == [
        app.name for app in live_restarts.PATHS
    ]
    assert all(row["requests"] >= 50 and row["new pods"] >= 1 for row in found.evidence["workloads"])
    causes = {row["cause"].partition(":")[0] for row in found.evidence["failed requests"]}
    assert causes & {"readiness", "drain"}, found.evidence
    assert found.evidence["job"]["condition"] == "Complete" and found.evidence["job"]["with a sidecar"]


def test_workloads_with_a_readiness_probe_and_a_hook_fail_none(
    kube: Kube, changes: Changes, machine: Machine
) -> None:
    """What a run deploys that is asked for this check."""
    config = LabConfig()
    samples = bookinfo.manifests(locate(config, machine=machine, images=("not:asked",)))
    try:
        put_up(kube, config, graceful(samples, kube.server_version()), ())
        found = made(kube, changes)
    finally:
        put_up(kube, config, samples, ())
    assert found.verdict is Verdict.PASS, found
    rows = found.evidence["workloads"]
    assert [row["workload"] for row in rows] == [app.name for app in live_restarts.PATHS]
    assert all(row["requests"] >= 50 and row["new pods"] >= 1 and row["failed"] == 0 for row in rows)
    assert found.evidence["job"]["condition"] == "Complete" and found.evidence["job"]["with a sidecar"]
