"""A load test on a living mesh: what was asked for is reached, through sidecars, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.app.bookinfo import PRODUCTPAGE
from meshlab.app.load import Sender, run_load
from meshlab.app.load_result import LoadResult
from meshlab.clusters.local import build, materials
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.config.settings import LabConfig, LocalSettings, Machine
from meshlab.config.settings_load import LoadProfile
from meshlab.core.process import SystemRunner
from meshlab.core.progress import silent
from meshlab.envoy.stats import SidecarReader
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from tests.live.conftest import NAME, NETWORK, Ran, run_lab

pytestmark = [pytest.mark.live, pytest.mark.long]  # fortio is compiled the first time
CONFIG = LabConfig(local=LocalSettings(name=NAME, network=NETWORK))
# Few enough for a busy machine: a page takes 20 to 100 ms.
STEADY, CLOSED = LoadProfile(5, 2, 8), LoadProfile(None, 2, 4)
TOO_MUCH = LoadProfile(5000, 2, 4)


@pytest.fixture(scope="module")
def kube(kept_lab: Ran, machine: Machine) -> Kube:
    return Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)


@pytest.fixture(scope="module")
def images(kept_lab: Ran, machine: Machine) -> tuple[str, ...]:
    """Fortio's image, compiled where it is missing, on every node."""
    runner = SystemRunner()
    build.build(["fortio"], machine=machine, runner=runner, log_dir=machine.state / "logs")
    specs = materials.addon_images(machine, ["fortio"], runner=runner, progress=silent)
    LocalCluster(CONFIG.local, machine).add_images(specs)
    return tuple(spec.reference for spec in specs)


@pytest.fixture
def changes(kube: Kube, tmp_path: Path) -> Iterator[Changes]:
    run = create(tmp_path, "test")
    ledger = Ledger.open(Machine.here({"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}), run)
    with Changes(kube, ledger, run) as made:
        yield made
    assert ledger.entries() == ()
    assert kube.objects("batch/v1", "Job", CONFIG.namespace) == []
    assert kube.pods(CONFIG.namespace, "app=load-test") == []


def load(
    kube: Kube, changes: Changes, images: tuple[str, ...], profile: LoadProfile, pods: int
) -> LoadResult:
    return run_load(kube, changes, CONFIG, Sender("load-test", pods), profile, images)


def test_a_rate_that_the_page_bears_is_reached_by_pods_with_sidecars(
    kube: Kube, changes: Changes, images: tuple[str, ...]
) -> None:
    found = load(kube, changes, images, STEADY, 2)
    assert found.statuses == {"200": found.requests} and found.errors == 0
    assert found.requests == sum(bucket.count for bucket in found.histogram) >= 36
    assert found.reached == pytest.approx(5) and not found.saturated
    assert 1 < found.percentile(50) <= found.percentile(99) <= found.most
    pods = kube.pods(CONFIG.namespace, "app=load-test")
    assert len(pods) == 2 and all("istio-proxy" in pod.images for pod in pods)


def test_a_rate_that_nobody_bears_is_told_as_saturated(
    kube: Kube, changes: Changes, images: tuple[str, ...]
) -> None:
    found = load(kube, changes, images, TOO_MUCH, 1)
    assert found.saturated and found.share is not None and found.share < 0.5


def counted(kube: Kube, reader: SidecarReader) -> int:
    """Requests of the load's pods that the page's own sidecars have counted."""
    return sum(
        int(sample.value)
        for pod in kube.pods(CONFIG.namespace, PRODUCTPAGE.selector)
        for sample in reader.stats(pod.name)
        if sample.get("reporter") == "destination" and sample.get("source_workload") == "load-test"
    )


def test_a_closed_loop_sends_as_much_as_is_answered_and_the_page_counts_it(
    kube: Kube, changes: Changes, images: tuple[str, ...]
) -> None:
    with SidecarReader(kube, CONFIG.namespace) as reader:
        before = counted(kube, reader)
        found = load(kube, changes, images, CLOSED, 1)
        after = counted(kube, reader)
    assert found.asked is None and found.requests > 10 and not found.saturated
    # fortio tries each connection once before it measures.
    assert found.requests <= after - before <= found.requests + 2 * CLOSED.connections


def test_a_run_with_load_has_its_numbers_beside_all_checks(
    kept_lab: Ran, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ran = run_lab(
        tmp_path_factory.mktemp("loaded"), "--keep", "--load", "5,2,8s", "--set", "load.warmup_seconds=2"
    )
    assert (ran.code, ran.result["verdict"]) == (0, "pass"), ran.output[-3000:]
    told = ran.result["load"]
    assert told["asked_rate"] == 5 and told["reached_rate"] == pytest.approx(5) and not told["saturated"]
    assert told["errors"] == 0 and 0 < told["warmup"]["requests"] < told["requests"]
    assert {each["id"] for each in ran.result["checks"]} == {each["id"] for each in kept_lab.result["checks"]}
    assert {each["name"] for each in ran.result["steps"]} - {
        each["name"] for each in kept_lab.result["steps"]
    } >= {"measure-load"}
    assert ran.directory is not None and "Load test" in (ran.directory / "report.html").read_text()
