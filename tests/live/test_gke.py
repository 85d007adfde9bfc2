"""The lab through an emulated GKE API with the real local cluster behind it: a whole run, and runs that kill -9 ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live import host
from tests.live.conftest import NAME, NETWORK, ROOT, Ran, command, down
from tests.live.test_interrupted import follow, started_steps

pytestmark = [pytest.mark.live, pytest.mark.long]


@dataclass(frozen=True)
class Cloud:
    """A running emulator."""

    port: int

    def left(self) -> dict[str, list[str]]:
        """What its own books say that somebody pays for."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1}/books", timeout=30) as answer:
            return json.load(answer)["left"]

    def words(self) -> list[str]:
        """The lab's flags for it."""
        sets = [
            f"gke.api_endpoint=127.0.0.1:{self.port}",
            "istio.distribution=embedded",
            "images=embedded",
            "gke.nodes=1",
        ]
        return ["--cluster", "gke", "--project", "p", *(word for each in sets for word in ("--set", each))]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """The emulator as a process of its own; what a failed test leaves behind it is removed."""
    port = free_pair()
    words = [
        "--port",
        str(port),
        "--local",
        NAME,
        "--network",
        NETWORK,
        "--books",
        str(tmp_path / "books.json"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.gke", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and "gRPC" in process.stdout.readline()
        yield Cloud(port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
        down()


def free_pair() -> int:
    """A port that is free together with the next one."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def test_the_whole_lab_passes_and_the_books_say_that_nothing_is_left(
    cloud: Cloud, clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    done = subprocess.run(
        command("--runs-dir", str(tmp_path / "runs"), *cloud.words()),
        cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    [directory] = (tmp_path / "runs").iterdir()
    ran = Ran(done.returncode, done.stdout + done.stderr, directory)
    assert (ran.code, ran.result["verdict"]) == (0, "pass"), ran.output[-6000:]
    table = (directory / "evidence" / "cluster-status.txt").read_text()
    assert re.search(r"^my-istio-cluster +us-central1-b .* e2-medium .* 1 +RUNNING$", table, re.MULTILINE), (
        table
    )
    gone = ran.check("teardown.nothing-left")
    assert gone["evidence"]["before"]["clusters"] == 1 and gone["evidence"]["after"]["clusters"] == 0
    assert cloud.left() == {}
    assert host.difference(clean_host, host.snapshot()) == {}


@pytest.mark.parametrize("step", ["start-cluster", "install-istio", "remove-cluster"])
def test_one_teardown_removes_what_a_killed_run_left(
    step: str, cloud: Cloud, clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    process = follow(
        command("--runs-dir", str(runs), *cloud.words()),
        lambda: step in started_steps(runs) and cloud.left() != {},
        seconds=900,
    )
    process.kill()
    process.communicate()
    assert cloud.left() != {}, "the control: a killed run leaves something to pay for"
    [run] = [path.name for path in runs.iterdir()]
    removed = subprocess.run(
        command("--runs-dir", str(tmp_path / "teardown"), "--run", run, module="flows.teardown"),
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert cloud.left() == {}
    assert host.difference(clean_host, host.snapshot()) == {}
