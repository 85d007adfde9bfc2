from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from meshlab.clusters.local.certificates import Authority
from meshlab.clusters.local.components import Component, Gate, Plan
from meshlab.clusters.local.supervisor import TOO_MANY, WINDOW, Status, Supervisor, gate_is_open
from meshlab.core.process import SystemRunner
from meshlab.core.waiting import wait

GATE = Gate("unix", "/gate")


class Bench:
    """A supervisor over real shell children, with a clock and a gate that the test moves."""

    def __init__(self, folder: Path, *components: Component) -> None:
        self.folder, self.now, self.open = folder, 0.0, False
        plan = Plan("unit", str(folder), str(folder / "status.json"), "meshlab-unit", components)
        self.supervisor = Supervisor(
            plan, SystemRunner(), clock=lambda: self.now, is_open=lambda gate: self.open, ended=self._ended
        )

    def _ended(self) -> int | None:
        """Only children of this bench: the test's process has others."""
        for entry in self.supervisor.running.values():
            if entry.child is not None:
                found = os.waitid(os.P_PID, entry.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found:
                    return found.si_pid
        return None

    def status(self) -> Status:
        found = Status.read(self.folder / "status.json")
        assert found is not None
        return found

    def until(self, condition: Callable[[Status], bool]) -> Status:
        """Step until the status file satisfies the condition."""

        def step() -> Status:
            self.supervisor.step()
            return self.status()

        return wait("the supervisor", step, ready=condition, timeout=10, delay=0.01)


def shell(folder: Path, name: str, script: str, **more: object) -> Component:
    return Component(name, ("sh", "-c", script), str(folder / f"{name}.log"), **more)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*components: Component) -> Bench:
        made.append(Bench(tmp_path, *components))
        return made[-1]

    yield make
    for one in made:
        one.supervisor.stop()


def test_a_component_waits_for_its_gate(bench: Callable[..., Bench], tmp_path: Path) -> None:
    one = bench(shell(tmp_path, "first", "sleep 60"), shell(tmp_path, "second", "sleep 60", after=(GATE,)))
    assert one.supervisor.step() is True
    assert one.status().state == "starting"
    assert one.status().components["second"]["state"] == "waiting"
    one.open = True
    one.supervisor.step()
    assert one.status().state == "running"


def test_what_exits_is_restarted_after_a_pause(bench: Callable[..., Bench], tmp_path: Path) -> None:
    one = bench(
        shell(tmp_path, "once", f"test -e {tmp_path}/seen && sleep 60; touch {tmp_path}/seen; exit 7")
    )
    status = one.until(lambda s: s.components["once"]["state"] == "restarting")
    assert status.components["once"]["returncode"] == 7
    one.supervisor.step()
    assert one.status().components["once"]["state"] == "restarting", "the pause is not over"
    one.now += 0.3
    one.supervisor.step()
    assert one.status().state == "running" and one.status().components["once"]["restarts"] == 1


def test_what_keeps_exiting_fails_the_cluster_with_the_end_of_its_log(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    one = bench(shell(tmp_path, "broken", "echo no such luck; exit 3"), shell(tmp_path, "fine", "sleep 60"))

    def hurry(status: Status) -> bool:
        one.now += 6
        return bool(status.failed)

    status = one.until(hurry)
    assert status.state == "failed" and status.failed == "broken"
    assert "exited with 3" in status.reason and status.reason.endswith("no such luck\n")
    assert (tmp_path / "broken.log").read_text().count("no such luck") == TOO_MANY
    one.now += 100
    one.supervisor.step()
    assert one.status().components["broken"]["state"] == "restarting", "it is not started again"
    assert one.status().components["fine"]["state"] == "running"


def test_rare_exits_never_fail_the_cluster(bench: Callable[..., Bench], tmp_path: Path) -> None:
    one = bench(shell(tmp_path, "rare", "exit 1"))

    def years(status: Status) -> bool:
        one.now += WINDOW / 2
        assert not status.failed
        return int(str(status.components["rare"]["restarts"])) >= 2 * TOO_MANY

    one.until(years)


def test_a_missing_program_counts_as_an_exit(bench: Callable[..., Bench], tmp_path: Path) -> None:
    one = bench(Component("gone", (str(tmp_path / "none"),), str(tmp_path / "gone.log")))
    one.supervisor.step()
    assert one.status().components["gone"]["state"] == "waiting"
    for _ in range(TOO_MANY):
        one.now += 6
        one.supervisor.step()
    assert one.status().failed == "gone" and "can't be started" in one.status().reason


def test_stopping_goes_down_the_orders_and_kills_the_deaf(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    rest = "; while :; do sleep 0.05; done"
    note = f"trap 'echo $0 >>{tmp_path}/order; exit 0' TERM; touch {tmp_path}/$0.up{rest}"
    deaf = f"trap '' TERM; touch {tmp_path}/deaf.up{rest}"
    one = bench(
        Component("store", ("sh", "-c", note, "store"), str(tmp_path / "a.log"), order=1),
        Component("agent", ("sh", "-c", note, "agent"), str(tmp_path / "b.log"), order=2),
        shell(tmp_path, "deaf", deaf, order=2),
    )
    one.supervisor.step()
    wait("traps", lambda: len(list(tmp_path.glob("*.up"))), ready=lambda n: n == 3, timeout=10, delay=0.02)
    children = [entry.child for entry in one.supervisor.running.values()]
    one.supervisor.clock = time.monotonic
    one.supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["agent", "store"]
    assert [child.returncode for child in children if child] == [0, 0, -9]
    assert one.status().state == "stopping"


def test_the_status_file_is_json_and_absent_is_none(tmp_path: Path) -> None:
    assert Status.read(tmp_path / "none") is None
    (tmp_path / "s").write_text(json.dumps({"state": "running", "components": {}}))
    assert Status.read(tmp_path / "s") == Status("running", {})


def test_a_socket_gate_opens_when_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "s"
    gate = Gate("unix", str(path))
    assert not gate_is_open(gate)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert not gate_is_open(gate), "bound but not listening"
        server.listen()
        assert gate_is_open(gate)


def test_a_port_gate_opens_when_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gate = Gate("tcp", f"127.0.0.1:{server.getsockname()[1]}")
        assert gate_is_open(gate)
    assert not gate_is_open(gate)


class _Answer(BaseHTTPRequestHandler):
    code = 403

    def do_GET(self) -> None:
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def test_an_https_gate_opens_with_200_from_the_right_server(tmp_path: Path) -> None:
    authority = Authority("unit")
    (tmp_path / "ca").write_bytes(authority.certificate)
    (tmp_path / "other").write_bytes(Authority("other").certificate)
    authority.issue("server", addresses=["127.0.0.1"]).write(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}/readyz"
        assert not gate_is_open(Gate("https", url, str(tmp_path / "ca"))), "403 is not ready"
        _Answer.code = 200
        assert gate_is_open(Gate("https", url, str(tmp_path / "ca")))
        assert not gate_is_open(Gate("https", url, str(tmp_path / "other"))), "signed by somebody else"
        server.shutdown()
    assert not gate_is_open(Gate("https", url, str(tmp_path / "ca"))), "nobody listens"
