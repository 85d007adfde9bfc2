"""Nights with a fault in the middle, on the kept lab: the cause is named, what was applied is removed, nothing hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from meshlab.core.waiting import wait
from meshlab.kube.client import Kube
from tests.live.conftest import NAME, ROOT, Ran, command
from tests.live.test_interrupted import started_steps
from tests.live.test_nightly import LONGEST, accepting, evict, kubeconfig_of

pytestmark = pytest.mark.live
KUBELET_AWAY = 20  # seconds: less than the 40 after which its node counts as gone


@dataclass(frozen=True)
class Night:
    """A night under way, and what a fault may want to know of it."""

    process: subprocess.Popen[str]
    runs: Path
    kube: Kube

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(next(self.runs.glob("*/result.json")).read_text())


@pytest.fixture
def kube(kept_lab: Ran) -> Kube:
    return Kube.connect(kubeconfig_of(kept_lab), None)


def begin(kept_lab: Ran, kube: Kube, folder: Path, step: str) -> Night:
    """Start a night and return when it is in that step."""
    runs = folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    settings = folder / "night.yaml"
    settings.write_text(json.dumps(accepting(runs, folder / "history.sqlite")))
    words = ["--kubeconfig", str(kubeconfig_of(kept_lab)), "--config", str(settings)]
    process = subprocess.Popen(
        command(*words, module="flows.nightly"), cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + LONGEST
    while step not in started_steps(runs):
        assert process.poll() is None, process.communicate()[0][-4000:]
        assert time.monotonic() < deadline, f"the night did not come to {step}"
        time.sleep(0.1)
    return Night(process, runs, kube)


def wait_gone(kube: Kube) -> None:
    """The night's namespace goes; the Lease's, deleted as the last thing, goes by itself after the process."""
    wait(
        "the namespace meshlab to be gone",
        lambda: kube.get("v1", "Namespace", "meshlab"),
        ready=lambda found: found is None,
        timeout=60,
    )


def process_of(program: str) -> psutil.Process:
    """The one process of the test's cluster that runs this program."""
    found = []
    for each in psutil.process_iter(["cmdline"]):
        words = each.info["cmdline"] or [""]
        if Path(words[0]).name == program and any(f"/clusters/{NAME}/" in word for word in words):
            found.append(each)
    assert found, f"no {program} of {NAME} runs"
    return found[0]


def kill_api_server(night: Night) -> None:
    process_of("kube-apiserver").kill()


def kill_istiod(night: Night) -> None:
    evict(night.kube, "istio-system", "app=istiod")


def evict_prometheus(night: Night) -> None:
    evict(night.kube, "istio-system", "app.kubernetes.io/name=prometheus")


def stop_kubelet(night: Night) -> None:
    kubelet = process_of("kubelet")
    kubelet.suspend()
    try:
        time.sleep(KUBELET_AWAY)
    finally:
        kubelet.resume()


FAULTS: dict[str, tuple[str, Callable[[Night], None]]] = {
    "api-server": ("check-istio", kill_api_server),
    "istiod": ("deploy-bookinfo", kill_istiod),
    "prometheus": ("begin-phase", evict_prometheus),
    "kubelet": ("deploy-bookinfo", stop_kubelet),
}


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_night_outlives_it(fault: str, kept_lab: Ran, kube: Kube, tmp_path: Path) -> None:
    step, strike = FAULTS[fault]
    night = begin(kept_lab, kube, tmp_path, step)
    strike(night)
    output, _ = night.process.communicate(timeout=LONGEST)
    assert night.process.returncode == 0, output[-6000:]
    assert night.kube.get("v1", "Namespace", "meshlab") is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.long
def test_a_full_disk_is_named_and_what_was_applied_is_removed(
    kept_lab: Ran, kube: Kube, small_disk: Path
) -> None:
    night = begin(kept_lab, kube, small_disk, "check-istio")
    fill = os.open(small_disk / "fill", os.O_CREAT | os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            while True:
                os.write(fill, bytes(4096))
    finally:
        os.close(fill)
    output, _ = night.process.communicate(timeout=LONGEST)
    assert night.process.returncode == 3 and "No space left on device" in output, output[-6000:]
    wait_gone(kube)


def test_of_two_nights_at_once_the_second_is_refused_and_says_by_whom(
    kept_lab: Ran, kube: Kube, tmp_path: Path
) -> None:
    first = begin(kept_lab, kube, tmp_path / "first", "start-cluster")
    try:
        [run] = first.runs.iterdir()
        words = ["--kubeconfig", str(kubeconfig_of(kept_lab)), "--runs-dir", str(tmp_path / "second")]
        words += ["--set", "istio.distribution=embedded", "--set", "images=embedded"]
        second = subprocess.run(
            command(*words, module="flows.nightly"), cwd=ROOT, capture_output=True, text=True, check=False,
            timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert second.returncode == 2 and f"another run holds this cluster: run {run.name}" in second.stderr
    finally:
        first.process.send_signal(signal.SIGTERM)
        output, _ = first.process.communicate(timeout=LONGEST)
    assert first.process.returncode == 143, output[-4000:]
    wait_gone(kube)
