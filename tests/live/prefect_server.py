"""A real Prefect server of the tests' own: its home in a temporary folder, its port on an address of ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from meshlab.waiting import wait
from tests.live.conftest import ROOT

UP_WITHIN = 180.0  # seconds, on a busy machine
PREFECT = str(Path(sys.executable).with_name("prefect"))


@dataclass(frozen=True)
class Server:
    """A server that answers. environment: for its clients; folder: gets their logs."""

    url: str
    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    def run(self, *words: str) -> str:
        """`prefect words` as a person types it; what it printed."""
        done = subprocess.run(
            [PREFECT, *words], cwd=ROOT, env=dict(self.environment), capture_output=True, text=True, timeout=300,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"prefect {' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    @contextmanager
    def worker(self, *words: str, **more: str) -> Iterator[None]:
        """`prefect worker start words`, until the end of the block. more: variables of its process."""
        with started(["worker", "start", *words], {**self.environment, **more}, self.folder / "worker.log"):
            yield

    def ask(self, path: str, **body: Any) -> Any:
        """What the server's API answers."""
        answer = httpx.post(f"{self.url}{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def run_of(self, deployment: str, *, timeout: float, **where: Any) -> dict[str, Any]:
        """The deployment's newest run that was begun, when it has ended. where: fields that it must have."""

        def newest() -> dict[str, Any] | None:
            asked = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_DESC"}
            runs = self.ask("/flow_runs/filter", **asked)
            begun = [run for run in runs if run["state_type"] != "SCHEDULED" and where.items() <= run.items()]
            return begun[0] if begun else None

        def ended(run: dict[str, Any] | None) -> bool:
            return run is not None and run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

        found = wait(
            f"a run of {deployment} to end",
            newest,
            ready=ended,
            describe=lambda run: run["state"]["type"] if run else "none was begun",
            timeout=timeout,
            delay=2,
        )
        assert found is not None
        return found


@contextmanager
def server(folder: Path, host: str = "127.0.0.1") -> Iterator[Server]:
    """`prefect server start` on a free port of an address of ours, until the end of the block."""
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://{host}:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    words = ["server", "start", "--host", host, "--port", str(port)]
    with started(words, environment, folder / "server.log"):
        wait("the Prefect server to answer", lambda: _healthy(url), ready=bool, timeout=UP_WITHIN, delay=0.5)
        yield Server(url, folder, environment)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def started(words: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """A `prefect` process that goes on, ended as Ctrl-C ends it; killed when it does not."""
    with log.open("a") as file:
        process = subprocess.Popen(
            [PREFECT, *words], cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield
        assert process.poll() is None, f"prefect {' '.join(words)} has ended: {log.read_text()[-3000:]}"
    finally:
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        process.kill()
        process.wait()
