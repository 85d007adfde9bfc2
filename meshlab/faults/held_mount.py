"""A mount below the local cluster's folder that can't be taken away, because this process has a file open in it.

The kernel closes that file when the process ends, however it ends: what a killed run left mounted no longer holds, and
goes with the cluster.
"""

from __future__ import annotations

from io import BufferedWriter
from pathlib import Path

from meshlab.clusters.local import inventory
from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.process import Runner
from meshlab.run.ledger import Entry, Ledger

KIND = "mount"  # of the ledger's entries that are written here
SOURCE = "meshlab-sabotage"  # what the machine's table of mounts calls it
STEP = 20.0  # seconds; each command takes milliseconds


class HeldMount:
    """The one mount of ours below a cluster's folder. It is in the ledger before it is made."""

    def __init__(self, layout: Layout, runner: Runner, ledger: Ledger) -> None:
        self._layout, self._runner, self._ledger = layout, runner, ledger
        self._open: BufferedWriter | None = None
        self.point: Path = layout.root / "sabotage"

    def occupy(self) -> None:
        """Mount a file system and open a file in it. Raises ProcessError, OSError."""
        self._ledger.intend(Entry(KIND, str(self.point), self._layout.name))
        self.point.mkdir(exist_ok=True)
        self._runner.run(("mount", "-t", "tmpfs", "-o", "size=64k", SOURCE, self.point), timeout=STEP)
        self._open = (self.point / "held").open("wb")

    def restore(self) -> tuple[str, ...]:
        """Close the file, unmount, and strike it out; returns what was mounted. May be called twice. Raises ProcessError."""
        if self._open is not None:
            self._open.close()
        there = [point for point in inventory.host_mounts(self._layout) if point == self.point]
        for point in there:
            self._runner.run(("umount", point), timeout=STEP)
        if self.point.is_dir() and not any(self.point.iterdir()):
            self.point.rmdir()
        for entry in self._ledger.entries():
            if entry.kind == KIND and entry.where == self._layout.name:
                self._ledger.gone(entry)
        return tuple(f"mount {point}" for point in there)


def held_mount_of(config: LabConfig, machine: Machine, runner: Runner, ledger: Ledger) -> HeldMount | None:
    """Make the mount below the cluster's folder; nothing is mounted yet.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        runner: Starts processes.
        ledger: What the run made, written down first.

    Returns:
        It; None where the cluster has no folder on this machine.
    """
    if config.cluster != "local":
        return None
    return HeldMount(Layout.of(config.local, machine), runner, ledger)
