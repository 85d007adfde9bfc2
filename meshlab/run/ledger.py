"""The ledger: what a run makes is written down before it is made, and struck out when it is gone.

It lies outside of the run directory: one JSON file per run in the XDG state folder. A file that still has entries
names what a killed run may have left.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil

from meshlab.config.settings import Machine
from meshlab.core.errors import MeshlabError
from meshlab.core.files import write_atomically
from meshlab.core.process import lives
from meshlab.run.journal import RunRef, now

_lock = threading.Lock()  # steps side by side write to the same ledger


@dataclass(frozen=True)
class Entry:
    """One thing that a run makes or changes: kind, name, and where it is.

    kind: cluster, load-balancer, istio, label, app, addon, object, change, tracing, firewall, mount,
    restart, moved, revision, retiring. Who removes the thing, or puts it back, strikes the entry (`Ledger.gone`).

    content: what is needed to undo it, where removing it is not enough (see `meshlab.kube.changes`).
    """

    kind: str
    name: str
    where: str = ""
    content: str = ""


class Ledger:
    """A run's own ledger. Every change is on disk when the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, machine: Machine, run: RunRef) -> Ledger:
        """Open the ledger of a run; it is made where there is none.

        Args:
            machine: This machine: its folders and what it has.
            run: The run.

        Returns:
            The ledger.

        Raises:
            MeshlabError: It can't be written.
        """
        path = machine.state / "ledger" / f"{run.run_id}.json"
        head = {"run_id": run.run_id, "directory": str(run.directory), "opened": now(), **_owner()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _lock:
                if not path.exists():
                    _write(path, {**head, "entries": []})
        except OSError as problem:
            raise MeshlabError(
                f"the ledger {path} can't be written: {problem.strerror}",
                remedy="make that folder writable, or name another with XDG_STATE_HOME",
            ) from problem
        return cls(path)

    @classmethod
    def of(cls, machine: Machine, run_id: str) -> Ledger | None:
        """Find the ledger of a run.

        Args:
            machine: This machine: its folders and what it has.
            run_id: The run.

        Returns:
            The ledger; None where the run has none.
        """
        path = machine.state / "ledger" / f"{run_id}.json"
        return cls(path) if run_id and path.is_file() else None

    def take_over(self) -> None:
        """Make this process the owner: it goes on where a killed one was cut off."""
        with self._changed() as content:
            content.update(_owner())

    def intend(self, entry: Entry) -> None:
        """Write down that `entry` is about to be made. An entry that is there already stays once."""
        with self._changed() as content:
            if _row(entry) not in content["entries"]:
                content["entries"].append(_row(entry))

    def gone(self, entry: Entry) -> None:
        """Strike `entry` out: it was seen to be gone."""
        with self._changed() as content:
            content["entries"] = [row for row in content["entries"] if row != _row(entry)]

    def note_flow_run(self, flow_run: str) -> None:
        """Write down the id of the Prefect flow run that works for this run."""
        with self._changed() as content:
            content["flow_run"] = flow_run

    def note(self, key: str, facts: Mapping[str, Any]) -> None:
        """Write down what is known about the things that were made.

        It is merged with what was noted under the key before.

        Args:
            key: What it is about.
            facts: What is known.
        """
        with self._changed() as content:
            content.setdefault("notes", {}).setdefault(key, {}).update(facts)

    def noted(self, key: str) -> dict[str, Any]:
        """What was noted under `key`; it stays until the ledger is closed."""
        return dict(self._read().get("notes", {}).get(key, {}))

    @property
    def flow_run(self) -> str | None:
        """The id of the Prefect flow run, None when there is none."""
        return self._read().get("flow_run")

    @property
    def run_id(self) -> str:
        """The run that the ledger belongs to."""
        return self.path.stem

    def entries(self) -> tuple[Entry, ...]:
        """What the run has made and not yet removed."""
        return tuple(Entry(**row) for row in self._read()["entries"])

    def close(self) -> bool:
        """Remove the file when nothing is left in it; returns whether that was so. Closing twice is fine."""
        with _lock:
            if self.path.exists() and self._read()["entries"]:
                return False
            self.path.unlink(missing_ok=True)
            return True

    def owner_lives(self) -> bool:
        """Whether the process that opened the ledger still runs (its pid not taken by another since)."""
        content = self._read()
        return lives(content["pid"], content["process_started"])

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        """Change the content in this block; it is on disk when the block ends."""
        with _lock:
            content = self._read()
            before = json.dumps(content)
            yield content
            if json.dumps(content) != before:
                _write(self.path, content)

    def _read(self) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self.path.read_text(encoding="utf-8")))


def ledgers(machine: Machine) -> Iterator[Ledger]:
    """Every ledger on this machine, oldest first."""
    for path in sorted((machine.state / "ledger").glob("*.json")):
        yield Ledger(path)


def _owner() -> dict[str, Any]:
    me = psutil.Process()
    return {"pid": me.pid, "process_started": me.create_time()}


def _row(entry: Entry) -> dict[str, str]:
    return {key: value for key, value in vars(entry).items() if key != "content" or value}


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1) + "\n", mode=0o600, durable=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
