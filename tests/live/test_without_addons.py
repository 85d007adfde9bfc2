"""A whole run whose Jaeger and Prometheus go away in the middle: what needs them can't be made, the rest is."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.kube.client import Kube
from tests.live.conftest import LAB, ROOT, Ran, command
from tests.live.test_interrupted import started_steps

pytestmark = pytest.mark.live
SYSTEM = "istio-system"
WITHOUT = {"prometheus": "rometheus", "jaeger": "svc/tracing"}  # Deployment → what every cause names
ANSWER_TIMEOUT = 10  # seconds that a check waits for an answer
LONGEST = 15 * 60  # seconds for the whole run, on a busy machine


@pytest.fixture(scope="module")
def without(kept_lab: Ran, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A run on the kept lab, both addons scaled to 0 as soon as its load flows; they are put back after it."""
    assert kept_lab.directory is not None
    told = json.loads((kept_lab.directory / "evidence" / "cluster.json").read_text())
    kube = Kube.connect(Path(told["kubeconfig"]), told["context"])
    runs = tmp_path_factory.mktemp("without")
    words = ["--keep", "--runs-dir", str(runs), "--set", f"prometheus.answer_timeout={ANSWER_TIMEOUT}"]
    process = subprocess.Popen(
        command(*LAB, *words), cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + LONGEST
        while "fast-load" not in started_steps(runs):
            assert process.poll() is None and time.monotonic() < deadline, "the run did not come that far"
            time.sleep(0.1)
        scale(kube, 0)
        output, _ = process.communicate(timeout=LONGEST)
        yield Ran(process.returncode, output, next(runs.iterdir()))
    finally:
        process.kill()
        process.wait()
        scale(kube, 1)


def scale(kube: Kube, replicas: int) -> None:
    for name in WITHOUT:
        kube.patch("apps/v1", "Deployment", name, {"spec": {"replicas": replicas}}, SYSTEM)


def test_what_needs_them_can_not_be_made_and_says_why(without: Ran) -> None:
    for check in without.result["checks"]:
        family = check["id"].partition(".")[0]
        if family in ("prometheus", "grafana") or check["id"] in ("graph.edges", "jaeger.productpage-traces"):
            service = WITHOUT["jaeger" if family == "jaeger" else "prometheus"]
            assert check["verdict"] == "infra-error", check
            assert service in check["reason"] and check["remedy"], check
            assert check["seconds"] < ANSWER_TIMEOUT + 60, check


def test_the_others_finish_and_the_run_ends_with_3(without: Ran) -> None:
    verdicts = {check["id"]: check["verdict"] for check in without.result["checks"]}
    passed = {check_id for check_id, verdict in verdicts.items() if verdict == "pass"}
    assert {"app.bookinfo", "app.productpage", "envoy.scrape", "istio.proxies-synced"} <= passed
    assert {family.partition(".")[0] for family in passed} >= {"cluster", "istio", "app", "mtls", "authz"}
    assert "fail" not in verdicts.values(), verdicts
    assert without.code == 3, without.output[-4000:]
    assert {step["state"] for step in without.result["steps"]} <= {"done", "skipped"}
