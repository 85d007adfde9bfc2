"""The daemon that runs a cluster's components: starts them in order, restarts what exits, stops them in order.

    python -m meshlab.clusters.local.supervisor PLAN

It is the first process of the cluster's cell (see `cell`), so it also reaps what is orphaned there, and
nothing outlives it. It says what it sees in a status file. It imports little, because the start of a cluster
waits for it.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from meshlab.clusters.local import cell
from meshlab.clusters.local.cgroups import SYSTEM, Hierarchies
from meshlab.clusters.local.components import Component, Gate, Plan
from meshlab.clusters.local.files import tail
from meshlab.core.errors import ProcessError
from meshlab.core.files import write_atomically
from meshlab.core.process import Runner, SystemRunner
from meshlab.core.signals import signals_queue

log = logging.getLogger(__name__)
TOO_MANY = 5  # exits …
WINDOW = 60.0  # … within so many seconds: it won't get better
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds before each restart within the window
GRACE = 1.0  # seconds that the components of one order get to stop: nothing that they hold outlives the cell
BUSY, IDLE = 0.03, 1.0  # seconds between two looks: while components wait to start, and afterwards
TAIL = 4000  # bytes of a failed component's log


@dataclass
class Running:
    """A component and what became of it. due: when it may be (re)started, on the monotonic clock."""

    component: Component
    child: subprocess.Popen[bytes] | None = None
    exits: deque[float] = field(default_factory=lambda: deque(maxlen=TOO_MANY))
    restarts: int = 0
    returncode: int | None = None
    due: float = 0.0
    started: bool = False


@dataclass(frozen=True)
class Status:
    """What the status file holds.

    state: starting, running, failed or stopping. components: name → what it does now. failed: name of the component that
    keeps exiting; reason: how it exited, and the end of its log.
    """

    state: str
    components: dict[str, dict[str, object]]
    failed: str = ""
    reason: str = ""

    @classmethod
    def read(cls, path: Path) -> Status | None:
        """Return the status that a supervisor wrote last, None without one."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None


class Supervisor:
    """Runs a plan until it is told to stop.

    clock: monotonic seconds; is_open: tells whether a gate is open.
    """

    def __init__(
        self,
        plan: Plan,
        runner: Runner,
        *,
        clock: Callable[[], float] = time.monotonic,
        is_open: Callable[[Gate], bool] | None = None,
        ended: Callable[[], int | None] | None = None,
    ) -> None:
        self.plan = plan
        self.runner = runner
        self.clock = clock
        self.is_open = is_open or gate_is_open
        self.ended = ended or next_ended
        self.running = {component.name: Running(component) for component in plan.components}
        self.failed = ""
        self.reason = ""
        self._written = ""

    def step(self) -> bool:
        """Reap, judge, start what may start, write the status. True: something still waits to be started."""
        self._reap()
        now = self.clock()
        opened: dict[Gate, bool] = {}
        waiting = False
        for entry in self.running.values():
            if entry.child is not None or entry.component.name == self.failed:
                continue
            gates = entry.component.after
            for gate in gates:
                if gate not in opened:
                    opened[gate] = self.is_open(gate)
            if now >= entry.due and all(opened[gate] for gate in gates):
                self._start(entry)
            else:
                waiting = True
        self.write_status()
        return waiting

    def _start(self, entry: Running) -> None:
        component = entry.component
        log.info("starting %s", component.name)
        try:
            entry.child = self.runner.spawn(component.argv, log_file=Path(component.log), env=component.env)
        except ProcessError as problem:
            self._note_exit(entry, None, problem.message)
            return
        entry.restarts += entry.started
        entry.started = True

    def _reap(self) -> None:
        """Collect every ended child: components, and orphans that the kernel gave to the cell's first process."""
        started = {entry.child.pid: entry for entry in self.running.values() if entry.child is not None}
        while (pid := self.ended()) is not None:
            entry = started.get(pid)
            if entry is None or entry.child is None:
                os.waitpid(pid, 0)
                continue
            code = entry.child.wait()
            entry.child = None
            self._note_exit(entry, code, f"exited with {code}")

    def _note_exit(self, entry: Running, code: int | None, what: str) -> None:
        now = self.clock()
        entry.returncode = code
        entry.exits.append(now)
        recent = [moment for moment in entry.exits if now - moment <= WINDOW]
        entry.due = now + BACKOFF[min(len(recent), len(BACKOFF)) - 1]
        log.warning("%s %s (%d times in %.0f s)", entry.component.name, what, len(recent), WINDOW)
        if len(recent) >= TOO_MANY and not self.failed:
            self.failed = entry.component.name
            self.reason = (
                f"{what}, {len(recent)} times within {WINDOW:.0f} s: {tail(Path(entry.component.log), TAIL)}"
            )

    def status(self, state: str = "") -> Status:
        """Return what is going on now."""
        components: dict[str, dict[str, object]] = {
            name: {
                "state": "running" if entry.child else ("restarting" if entry.started else "waiting"),
                "restarts": entry.restarts,
                "returncode": entry.returncode,
            }
            for name, entry in self.running.items()
        }
        all_run = all(entry.child for entry in self.running.values())
        state = state or ("failed" if self.failed else "running" if all_run else "starting")
        return Status(state, components, self.failed, self.reason)

    def write_status(self, state: str = "") -> None:
        """Write the status file, if anything changed."""
        text = json.dumps(asdict(self.status(state)), indent=1)
        if text != self._written:
            write_atomically(Path(self.plan.status), text)
            self._written = text

    def stop(self) -> None:
        """End the components: those of the highest order first, all of one order together, then the next."""
        self.write_status("stopping")
        for order in sorted({entry.component.order for entry in self.running.values()}, reverse=True):
            stopping = {
                name: entry.child
                for name, entry in self.running.items()
                if entry.component.order == order and entry.child is not None
            }
            for child in stopping.values():
                child.terminate()
            deadline = self.clock() + GRACE
            for name, child in stopping.items():
                try:
                    child.wait(timeout=max(0.0, deadline - self.clock()))
                except subprocess.TimeoutExpired:
                    log.warning("%s did not stop, killing it", name)
                    child.kill()
                    child.wait()


def next_ended() -> int | None:
    """Return the id of an ended child that is not collected yet (and stays so), None when there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def gate_is_open(gate: Gate) -> bool:
    """Ask once, within a second."""
    try:
        if gate.kind == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(gate.target)
            return True
        if gate.kind == "tcp":
            address, _, port = gate.target.rpartition(":")
            socket.create_connection((address.strip("[]"), int(port)), timeout=1).close()
            return True
        return _https_answers(gate)
    except (OSError, http.client.HTTPException):
        return False


def _https_answers(gate: Gate) -> bool:
    url = urllib.parse.urlsplit(gate.target)
    context = ssl.create_default_context(cafile=gate.ca)
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=1, context=context)
    try:
        connection.request("GET", url.path)
        return connection.getresponse().status == 200
    finally:
        connection.close()


def asked_to_stop(signals: SimpleQueue[int], seconds: float) -> bool:
    """Wait for a signal, so many seconds at most; tell whether one came that asks the supervisor to stop.

    Args:
        signals: Those that came; all are taken out. A SIGCHLD only ends the wait.
        seconds: How long to wait.

    Returns:
        Whether a SIGTERM or SIGINT is among them.
    """
    came = []
    try:
        came.append(signals.get(timeout=seconds))
        while True:
            came.append(signals.get_nowait())
    except Empty:
        return any(signum != signal.SIGCHLD for signum in came)


def main(arguments: list[str]) -> int:
    """Run the plan named by the only argument until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan = Plan.read(Path(arguments[0]))
    signals = signals_queue(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    Hierarchies.here().join(f"{plan.cgroup}/{SYSTEM}")
    runner = SystemRunner()
    cell.prepare(Path(plan.root), runner)
    supervisor = Supervisor(plan, runner)
    while not asked_to_stop(signals, BUSY if supervisor.step() else IDLE):
        pass
    log.info("stopping")
    supervisor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
