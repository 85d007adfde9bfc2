"""A Prefect server and a worker of a test's own: on an address of ours, with a PREFECT_HOME of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from meshlab.core.waiting import wait
from tests.live.conftest import ROOT

POOL = "mesh-lab"  # as prefect.yaml calls it
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Side:
    """A Prefect server under test. folder: its PREFECT_HOME, and the logs."""

    url: str
    folder: Path
    server: psutil.Popen

    @property
    def environment(self) -> dict[str, str]:
        return _environment(self.folder, self.url)

    def prefect(self, *words: str) -> str:
        """Run `prefect …` against this server; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words], cwd=ROOT, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return _said(httpx.post(f"{self.url}/{path}", json=body, timeout=60))

    def get(self, path: str) -> Any:
        return _said(httpx.get(f"{self.url}/{path}", timeout=60))

    def pause_schedules(self) -> None:
        """Pause every schedule of every deployment: a worker would else start what its hour is."""
        for each in self.post("deployments/filter", {}):
            name = f"{self.get('flows/' + each['flow_id'])['name']}/{each['name']}"
            for schedule in (one for one in each["schedules"] if one["active"]):
                self.prefect("deployment", "schedule", "pause", name, schedule["id"])

    def start_run(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        """Start a run of a deployment; returns its id."""
        found = self.get(f"deployments/name/{deployment}")
        made = self.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        return str(made["id"])

    def state(self, run: str) -> dict[str, Any]:
        """The state of a flow run: type, name, message."""
        found: dict[str, Any] = self.get(f"flow_runs/{run}")["state"]
        return found

    def final(self, run: str, timeout: float) -> dict[str, Any]:
        """Wait for the final state of a flow run."""
        return wait(
            f"the end of flow run {run}",
            lambda: self.state(run),
            ready=lambda state: state["type"] in FINAL,
            describe=lambda state: str(state["type"]),
            timeout=timeout,
            delay=1,
        )

    def run_of(self, deployment: str, *, timeout: float, **where: Any) -> dict[str, Any]:
        """The newest run of a deployment (its name without the flow's) that was begun, when it has ended.

        where: fields that it must have.
        """

        def newest() -> dict[str, Any] | None:
            asked = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_DESC"}
            runs = self.post("flow_runs/filter", asked)
            begun = (run for run in runs if run["state_type"] != "SCHEDULED" and where.items() <= run.items())
            return next(begun, None)

        found = wait(
            f"a run of {deployment} to end",
            newest,
            ready=lambda run: run is not None and run["state_type"] in FINAL,
            describe=lambda run: str(run["state_type"]) if run else "none was begun",
            timeout=timeout,
            delay=2,
        )
        assert found is not None
        return found

    @contextmanager
    def worker(self, *words: str, **more: str) -> Iterator[psutil.Popen]:
        """A worker of the pool, or `prefect worker start` with these words; ended at the end, if it still lives.

        more: variables of its process.
        """
        words = ("worker", "start", *(words or ("--pool", POOL, "--name", "live")))
        with (self.folder / "worker.log").open("ab") as log:
            worker = psutil.Popen(
                [sys.executable, "-m", "prefect", *words], cwd=ROOT, env={**self.environment, **more},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            yield worker
        finally:
            end(worker)


@contextmanager
def serving(folder: Path, host: str = "127.0.0.1") -> Iterator[Side]:
    """A Prefect server on a free port of an address of this machine, with a database of its own."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    url = f"http://{host}:{port}/api"
    folder.mkdir(parents=True, exist_ok=True)
    words = ["server", "start", "--host", host, "--port", str(port)]
    with (folder / "server.log").open("ab") as log:
        server = psutil.Popen(
            [sys.executable, "-m", "prefect", *words], cwd=folder, env=_environment(folder, url),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait("Prefect's server", lambda: _healthy(url, server), ready=bool, timeout=300, delay=0.5)
        yield Side(url, folder, server)
    finally:
        end(server)


def end(process: psutil.Popen) -> None:
    """End a process with all below it."""
    for each in family(process):
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(30)


def family(process: psutil.Popen) -> list[psutil.Process]:
    """A process and all below it, while it lives."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _healthy(url: str, server: psutil.Popen) -> bool:
    assert server.poll() is None, "Prefect's server ended; see server.log"
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _environment(folder: Path, url: str) -> dict[str, str]:
    own = {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT),
    }
    return {**{key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}, **own}


def _said(answer: httpx.Response) -> Any:
    assert answer.is_success, f"{answer.status_code}: {answer.text[:2000]}"
    return json.loads(answer.content) if answer.content else None
