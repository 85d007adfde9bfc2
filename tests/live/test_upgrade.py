"""Istio upgraded under traffic: a good upgrade, one that rolls back, and one that is killed and goes on.

One lab for all: it begins with the older Istio, stays there while upgrades fail, and is upgraded at last.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.config.settings import Machine
from meshlab.istio.revision import proxies_of_revision, revision_inventory
from meshlab.kube.apply import apply, delete
from meshlab.kube.client import Kube
from tests.live.conftest import ROOT, Ran, command, own_prefect

pytestmark = [pytest.mark.live, pytest.mark.long]
MODULE = "flows.upgrade"
NAME, NETWORK = "mlupgrade", "10.207"
LAB = [
    *("--set", f"local.name={NAME}", "--set", f"local.network={NETWORK}", "--set", "local.nodes=1"),
    *("--set", "local.pull=never", "--keep"),
]
OLD, NEW = ("default", "1.30.0-dev"), ("1-31-0-dev", "1.31.0-dev")
LONGEST = 60 * 60  # seconds: the first upgrade of a machine compiles the older Istio
POLL = 0.05  # seconds


def cluster(*words: str, timeout: float = 180) -> None:
    done = subprocess.run(
        command(*words, "--name", NAME, "--network", NETWORK, module="meshlab.clusters.local"),
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def lab() -> Iterator[None]:
    """A cluster alone, so that each test can be run without the others; the first upgrade brings the older Istio."""
    cluster("down")
    cluster("up", "--nodes", "1", timeout=LONGEST)
    yield
    cluster("down")


@pytest.fixture
def kube(machine: Machine) -> Kube:
    return Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)


def start(runs: Path, *words: str) -> subprocess.Popen[str]:
    runs.mkdir(parents=True, exist_ok=True)
    with (runs.parent / "output.txt").open("a", encoding="utf-8") as sink:
        return subprocess.Popen(
            command("--runs-dir", str(runs), *words, module=MODULE),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, text=True, env=own_prefect(runs),
        )  # fmt: skip


def run(runs: Path, *words: str) -> Ran:
    code = start(runs, *words).wait(LONGEST)
    [directory] = runs.iterdir()
    return Ran(code, (runs.parent / "output.txt").read_text(encoding="utf-8"), directory)


def figures(ran: Ran) -> dict[str, Any]:
    """The traffic's numbers; they are printed, as they are what an upgrade is judged by."""
    found: dict[str, Any] = ran.check("upgrade.traffic")["evidence"]
    print(
        f"\n{found['requests']} requests, {found['failed']} failed, longest gap {found['longest_gap_ms']} ms"
    )
    return found


def rolled_back(ran: Ran, kube: Kube, cause: str) -> None:
    """The upgrade failed, everything is as it was, and the traffic's budget held."""
    assert ran.code == 1, ran.output[-6000:]
    assert ran.check("upgrade.versions")["verdict"] == "fail"
    back = ran.check("upgrade.rollback")
    assert back["verdict"] == "pass" and cause in back["evidence"]["cause"], back
    assert {(row["revision"], row["version"]) for row in back["evidence"]["proxies"]} == {OLD}
    assert sum(back["evidence"]["new_before"].values()) > 5 and back["evidence"]["new_left"] == {}
    assert ran.check("upgrade.traffic")["verdict"] == "pass" and figures(ran)["requests"] > 100
    assert ran.check("istio.proxies-synced")["verdict"] == "pass"
    assert not any(revision_inventory(kube, NEW[0], "istio-system").values())
    assert len(proxies_of_revision(kube, OLD[0])) > 7


def test_an_istiod_that_never_gets_ready_is_rolled_back(tmp_path: Path, machine: Machine) -> None:
    file = tmp_path / "never.yaml"
    resources = {"requests": {"cpu": "500"}}
    spec = {"components": {"pilot": {"k8s": {"resources": resources}}}}
    file.write_text(
        yaml.safe_dump({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec})
    )
    ran = run(tmp_path / "runs", *LAB, "--operator-file", str(file), "--set", "istio.install_timeout=60")
    rolled_back(ran, Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME), "istiod")


def test_a_revision_whose_configuration_is_rejected_is_rolled_back(tmp_path: Path, kube: Kube) -> None:
    threshold = {"common_lb_config": {"healthy_panic_threshold": {"value": 200}}}  # Envoy takes 0 to 100
    patch = {
        "applyTo": "CLUSTER",
        "match": {"context": "SIDECAR_INBOUND"},
        "patch": {"operation": "MERGE", "value": threshold},
    }
    bad = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        # Read by the new revision alone.
        "metadata": {"name": "rejected", "namespace": "default", "labels": {"istio.io/rev": NEW[0]}},
        "spec": {"configPatches": [patch]},
    }
    refs = apply(kube, [bad])
    try:
        ran = run(tmp_path / "runs", *LAB, "--set", "app.rollout_timeout=45")
        rolled_back(ran, kube, "default")
    finally:
        delete(kube, refs)


def test_killed_half_way_it_goes_on_and_every_proxy_is_new(tmp_path: Path, kube: Kube) -> None:
    runs = tmp_path / "runs"
    first = start(runs, *LAB)
    began = time.monotonic()
    while not done(runs, "round-side-by-side"):
        assert first.poll() is None, (tmp_path / "output.txt").read_text()[-6000:]
        assert time.monotonic() - began < LONGEST
        time.sleep(POLL)
    first.kill()
    first.wait()
    assert proxies_of_revision(kube, NEW[0]) and proxies_of_revision(kube, OLD[0]), "the control: half way"
    [directory] = runs.iterdir()
    ran = run(runs, "--resume", directory.name)
    assert ran.code == 0, ran.output[-6000:]
    versions = ran.check("upgrade.versions")
    assert versions["verdict"] == "pass"
    assert {(row["revision"], row["version"]) for row in versions["evidence"]["proxies"]} == {NEW}
    assert len(versions["evidence"]["proxies"]) > 7
    assert sum(versions["evidence"]["old_before"].values()) > 5 and versions["evidence"]["old_left"] == {}
    assert ran.check("upgrade.rollback")["verdict"] == "skipped"
    traffic = figures(ran)
    assert ran.check("upgrade.traffic")["verdict"] == "pass"
    assert traffic["lives"] == 2 and traffic["requests"] > 500
    assert not any(revision_inventory(kube, OLD[0], "istio-system").values())
    labels = (kube.get("v1", "Namespace", "default") or {})["metadata"]["labels"]
    assert labels["istio-injection"] == "enabled" and "istio.io/rev" not in labels


def test_a_mesh_that_is_up_to_date_is_left_as_it_is(tmp_path: Path, kube: Kube) -> None:
    before = proxies_of_revision(kube, NEW[0])
    ran = run(tmp_path / "runs", *LAB)
    assert ran.code == 3 and "runs already" in ran.output
    assert proxies_of_revision(kube, NEW[0]) == before


def done(runs: Path, step: str) -> bool:
    """Whether the run under way has finished a step."""
    for journal in runs.glob("*/evidence/journal.jsonl"):
        for line in journal.read_text(encoding="utf-8").splitlines():
            event = json.loads(line) if line.endswith("}") else {}
            if event.get("event") == "step" and (event["name"], event["state"]) == (step, "done"):
                return True
    return False
