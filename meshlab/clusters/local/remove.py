"""Taking a cluster apart, from the record and from what is found, in an order that leaves nothing behind.

First the supervisor is asked, which stops the components in order and takes the whole cell with it; what is
left after that (or was left by a kill -9) goes by force. Every part may be missing, so running it again is
fine.
"""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from meshlab.clusters.local import cell, inotify, inventory, network
from meshlab.clusters.local.cgroups import Hierarchies
from meshlab.clusters.local.layout import NETNS_DIR, Layout
from meshlab.clusters.local.state import Record
from meshlab.core.errors import ClusterError, WaitTimeout
from meshlab.core.process import Runner
from meshlab.core.progress import Progress, Update
from meshlab.core.waiting import Clock, wait

log = logging.getLogger(__name__)
ORDERLY = 10.0  # seconds that the supervisor gets
FORCED = 15.0  # seconds until every process must be gone after SIGKILL
NAMED = 10  # of the processes that do not end
STEPS = 5  # of the progress


def remove(
    layout: Layout,
    record: Record | None,
    hierarchies: Hierarchies,
    runner: Runner,
    *,
    neighbours: Iterable[Record] = (),
    progress: Progress,
    clock: Clock | None = None,
) -> None:
    """Remove processes, mounts, network, cgroups and the folder of a cluster.

    The record stays until all else is gone, so it can be tried again.

    Args:
        layout: The cluster.
        record: What was written down when it was made, None without.
        hierarchies: This machine's cgroups.
        runner: Starts umount and ip.
        neighbours: What was written down of the other clusters on this machine.
        progress: Gets what is being done.
        clock: Of the waits; the machine's where not given.

    Raises:
        ClusterError: A file can't be removed; its text names it.
        ProcessError: A command failed.
        WaitTimeout: A process does not end, or a cgroup stays in use.
    """

    def tell(done: int, detail: str) -> None:
        progress(Update("remove the cluster", done, STEPS, detail))

    tell(0, "processes")
    end_processes(layout, record, hierarchies, clock=clock)
    tell(1, "mounts")
    for point in inventory.host_mounts(layout):
        runner.run(("umount", point), timeout=20)
    tell(2, "network")
    if record is not None:
        inotify.put_back(record, neighbours)
        network.remove(record.link, record.namespaces, runner)
        if record.made_netns_dir:
            _remove_if_empty(NETNS_DIR)
    tell(3, "cgroups")
    hierarchies.remove(layout.cgroup)
    tell(4, "files")
    if layout.root.exists():
        # The record goes last: an interrupted removal can still be finished.
        for entry in sorted(layout.root.iterdir(), key=lambda path: path.name == "record.json"):
            _delete(entry)
        layout.root.rmdir()
    tell(STEPS, "nothing left")


def end_processes(
    layout: Layout, record: Record | None, hierarchies: Hierarchies, *, clock: Clock | None = None
) -> None:
    """End every process of the cluster: in order where its supervisor lives, by force what remains."""

    def left() -> frozenset[int]:
        return inventory.processes(layout, record, hierarchies)

    def await_end(seconds: float) -> None:
        wait(
            f"the processes of cluster {layout.name} to end",
            left,
            ready=lambda pids: not pids,
            describe=lambda pids: (
                f"{len(pids)} left: "
                + "; ".join(f"{pid} {inventory.describe(pid)}" for pid in sorted(pids)[:NAMED])
            ),
            timeout=seconds,
            delay=0.03,
            clock=clock,
            remedy="end these processes, then run `make down` again",
        )

    supervisor = cell.first_process(hierarchies.processes(layout.cgroup))
    if supervisor is not None:
        cell.end(supervisor, signal.SIGTERM)
        try:
            await_end(ORDERLY)
        except WaitTimeout as problem:
            log.warning("%s; going on by force", problem.message)
    for pid in left():
        cell.end(pid, signal.SIGKILL)
    await_end(FORCED)


def _delete(entry: Path) -> None:
    try:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    except OSError as problem:
        raise ClusterError(
            f"{problem.filename or entry} can't be removed: {problem.strerror}",
            remedy="see what holds it (`findmnt`, `fuser -m`), then run `make down` again",
        ) from problem


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
