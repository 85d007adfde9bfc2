"""A night on the kept lab, as on a cluster of somebody else: it passes, goes on after kill -9, and survives faults."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from meshlab.core.waiting import wait
from meshlab.history.store import History
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from tests.live.conftest import ROOT, Ran, command, differs, own_prefect
from tests.live.test_interrupted import follow, started_steps

pytestmark = pytest.mark.live
LONGEST = 15 * 60  # seconds for a whole night, on a busy machine
# What a mesh for trying things out has, and its owner lives with.
ACCEPTED = ("istio-version", "strict-mtls", "egress-policy", "limits", "run-as-root", "token-mounts", "debug-ports",
            "analyze", "shared-accounts")  # fmt: skip


def kubeconfig_of(lab: Ran) -> Path:
    """The kubeconfig of the cluster that a run left up."""
    assert lab.directory is not None
    return Path(json.loads((lab.directory / "evidence" / "cluster.json").read_text())["kubeconfig"])


def accepting(runs: Path, history: Path) -> dict[str, Any]:
    """The settings of a night, with a runs folder and a history of its own."""
    risks = [
        {"rule": rule, "resource": "*", "reason": "a mesh to try things out", "expires": "2099-12-31"}
        for rule in ACCEPTED
    ]
    return {
        "istio": {"distribution": "embedded"},
        "images": "embedded",
        "runs_dir": str(runs),
        "history": {"path": str(history)},
        "audit": {"accepted": risks},
    }


@pytest.fixture(scope="module")
def kubeconfig(kept_lab: Ran) -> Path:
    return kubeconfig_of(kept_lab)


@pytest.fixture
def words(kubeconfig: Path, tmp_path: Path) -> list[str]:
    """The command line of a night."""
    settings = accepting(tmp_path / "runs", tmp_path / "history.sqlite")
    (tmp_path / "night.yaml").write_text(json.dumps(settings))
    (tmp_path / "runs").mkdir()
    return command(
        "--kubeconfig", str(kubeconfig), "--config", str(tmp_path / "night.yaml"), module="flows.nightly"
    )


def run(words: list[str], *more: str, runs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a night to its end. runs: its folder, where it gets a Prefect server of its own."""
    return subprocess.run(
        [*words, *more], cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False,
        stdin=subprocess.DEVNULL, env=own_prefect(runs) if runs else None,
    )  # fmt: skip


def journal(directory: Path, event: str) -> list[dict[str, Any]]:
    lines = (directory / "evidence" / "journal.jsonl").read_text().splitlines()
    return [each for each in map(json.loads, lines) if each["event"] == event]


def test_a_night_passes_measures_both_ways_and_is_in_the_history(words: list[str], tmp_path: Path) -> None:
    done = run(words, runs=tmp_path / "runs")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    [directory] = (tmp_path / "runs").iterdir()
    assert differs("nightly", directory) == []
    result = json.loads((directory / "result.json").read_text())
    skipped = {check["id"]: check["reason"] for check in result["checks"] if check["verdict"] == "skipped"}
    assert skipped["ingress.https"] == "needs scope mesh"
    with History(tmp_path / "history.sqlite", create=False) as history:
        [kept] = history.runs(flow="nightly-validation")
    values = {measure.key: measure.value for measure in kept.measures}
    assert 0 < values["path-p50{path=outside}"] < values["path-p50{path=mesh}"]
    assert values["proxy-memory"] > 5 and values["proxy-cpu-per-1000rps"] > 0
    assert kept.edges and kept.versions["istio.control_plane"]


def test_a_night_that_was_killed_goes_on_and_redoes_one_finished_step_at_most(
    words: list[str], tmp_path: Path
) -> None:
    process = follow(words, lambda: "check-prometheus" in started_steps(tmp_path / "runs"))
    process.kill()
    process.wait()
    [directory] = (tmp_path / "runs").iterdir()
    for more, said in (
        (["--resume", "nobody"], f"there are: {directory.name}"),
        (["--resume", directory.name, "--from", "dance"], "is no step of run"),
    ):
        refused = run(words, *more)
        assert refused.returncode == 2 and said in refused.stderr
    done = run(words, "--resume", directory.name)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    asked = journal(directory, "resume")
    assert [each["name"] for each in asked if each["redone"]] in ([], ["count-requests"])
    assert {"start-cluster", "install-istio", "deploy-bookinfo", "check-istio"} <= {
        each["name"] for each in asked if each["trusted"]
    }
    assert json.loads((directory / "result.json").read_text())["verdict"] == "pass"


def test_a_port_forward_that_is_cut_says_why_and_heals(kubeconfig: Path) -> None:
    kube = Kube.connect(kubeconfig, None)
    with PortForward(kube, namespace="default", port=9080, service="details") as forward:
        assert httpx.get(f"{forward.url}/details/0", timeout=10).status_code == 200
        for pod in kube.pods("default", "app=details"):
            kube.delete("v1", "Pod", pod.name, "default", foreground=False)
        healed = ask_until_answered(lambda: httpx.get(f"{forward.url}/details/0", timeout=5))
        assert healed == 200
        assert forward.last_error is None or forward.last_error.message


def test_prometheus_is_evicted_and_asked_again_through_the_same_forward(kubeconfig: Path) -> None:
    kube = Kube.connect(kubeconfig, None)
    with PortForward(kube, namespace="istio-system", port=9090, service="prometheus") as forward:
        assert httpx.get(f"{forward.url}/-/ready", timeout=10).status_code == 200
        evictor = threading.Thread(
            target=evict, args=(kube, "istio-system", "app.kubernetes.io/name=prometheus")
        )
        evictor.start()
        evictor.join(60)
        assert ask_until_answered(lambda: httpx.get(f"{forward.url}/-/ready", timeout=5)) == 200


def evict(kube: Kube, namespace: str, selector: str) -> None:
    """Take the pods away as an eviction does: their Deployment makes new ones."""
    pods = kube.pods(namespace, selector)
    assert pods, f"no pod {selector} in {namespace}"
    for pod in pods:
        kube.delete("v1", "Pod", pod.name, namespace, foreground=False)


def ask_until_answered(ask: Callable[[], httpx.Response]) -> int:
    """The status of the first answer; every request before it ends within its own deadline, with an error."""

    def status() -> int:
        try:
            return ask().status_code
        except httpx.HTTPError:
            return 0

    return wait(
        "an answer through the port-forward",
        status,
        ready=lambda code: code == 200,
        describe=str,
        timeout=90,
        delay=0.5,
    )
