"""What is remembered of a cluster between processes: its record, its lock and its claim.

All of it lives in `<XDG state>/clusters/`: NAME/record.json (what was made, written before it is made),
NAME.lock (one up or down at a time; the kernel frees it when its holder dies) and NAME.claim.json (the run
that uses the cluster; a holder that is dead is taken over).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from meshlab.clusters.local.files import try_lock
from meshlab.clusters.local.layout import Layout
from meshlab.core.errors import ClusterBusyError, MeshlabError
from meshlab.core.files import write_atomically
from meshlab.core.process import lives
from meshlab.core.waiting import wait

LOCK_TIMEOUT = 90.0  # seconds: another start or removal takes a few


@dataclass(frozen=True)
class Record:
    """What a cluster is and what was made for it on this machine.

    key: what it was made from (nodes, network, binaries, images); another key means another cluster.
    namespaces, link: names on this machine that go with the cluster. made_netns_dir: /run/netns was not there
    before. started_seconds: from the first process to Ready nodes; None until then. images: references of the
    images that the nodes were given; they may hold others, of earlier builds. inotify_before, inotify_during: the
    machine's limit of inotify instances before and after it was raised for the cluster; None where it was not.
    """

    key: str
    nodes: int
    network: str
    namespaces: tuple[str, ...]
    link: str
    cgroup: str
    made_netns_dir: bool = False
    started_seconds: float | None = None
    images: tuple[str, ...] = ()
    inotify_before: int | None = None
    inotify_during: int | None = None


class State:
    """The files that remember one cluster."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._record = layout.root / "record.json"
        self._lock = layout.root.with_name(f"{layout.name}.lock")
        self._claim = layout.root.with_name(f"{layout.name}.claim.json")

    def record(self) -> Record | None:
        """Return what was written down, None when nothing was made (or all of it removed)."""
        try:
            return _read(self._record)
        except FileNotFoundError:
            return None

    def neighbours(self) -> tuple[Record, ...]:
        """Return the records of the other clusters on this machine."""
        others = (path for path in self.layout.root.parent.glob("*/record.json") if path != self._record)
        return tuple(_read(path) for path in others)

    def neighbour_made_netns_dir(self) -> bool:
        """Tell whether /run/netns was made for another cluster that is still there: the last one removes it."""
        return any(each.made_netns_dir for each in self.neighbours())

    def write(self, record: Record) -> None:
        """Write the record down; it is on disk when this returns."""
        write_atomically(self._record, json.dumps(asdict(record), indent=1))

    def note_started(self, seconds: float) -> None:
        """Note in the record how long the start took: from now on the cluster is whole."""
        record = self.record()
        assert record is not None, "a cluster that starts has a record"
        self.write(replace(record, started_seconds=seconds))

    def note_images(self, references: Iterable[str]) -> None:
        """Note in the record which images the nodes were given, beside those that it names."""
        record = self.record()
        assert record is not None, "a cluster that gets images has a record"
        self.write(replace(record, images=tuple(dict.fromkeys([*record.images, *references]))))

    @contextmanager
    def locked(self, *, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Hold the cluster's lock.

        Args:
            timeout: Seconds to wait for another start or removal.

        Raises:
            ClusterBusyError: Another process holds it; the text names it.
        """
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a+") as handle:
            try:
                wait(
                    f"the lock of cluster {self.layout.name}",
                    lambda: try_lock(handle),
                    ready=bool,
                    timeout=timeout,
                    delay=0.1,
                )
            except MeshlabError as problem:
                raise ClusterBusyError(
                    f"cluster {self.layout.name} is being started or removed by process {self._holder()}",
                    remedy="wait until it is done, or use another name (--set local.name=…)",
                    retryable=True,
                ) from problem
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def _holder(self) -> str:
        return self._lock.read_text().strip() or "(unknown)"

    def claim(self, run_id: str, pid: int | None = None) -> None:
        """Note that a run uses the cluster. The same run may claim it again.

        Args:
            run_id: The run.
            pid: The run's process, this one where not given.

        Raises:
            ClusterBusyError: Another run, whose process lives, has it.
        """
        if self.refuse_others(run_id):
            return
        holder = psutil.Process(pid)
        content = {"run_id": run_id, "pid": holder.pid, "process_started": holder.create_time()}
        write_atomically(self._claim, json.dumps(content))

    def refuse_others(self, run_id: str) -> bool:
        """Return whether the run has the cluster. Raises ClusterBusyError when another one, which lives, has it."""
        held = self.claimed_by()
        if held is None or held[0] == run_id:
            return held is not None
        raise ClusterBusyError(
            f"cluster {self.layout.name} is used by run {held[0]} (process {held[1]})",
            remedy="wait until that run has ended, or use another name and network "
            "(--set local.name=… --set local.network=10.…)",
        )

    def claimed_by(self) -> tuple[str, int] | None:
        """Run id and process id of the living holder, None without one."""
        try:
            raw = json.loads(self._claim.read_text())
        except FileNotFoundError:
            return None
        return (raw["run_id"], raw["pid"]) if lives(raw["pid"], raw["process_started"]) else None

    def release(self, run_id: str) -> None:
        """Give the cluster up, if that run has it."""
        held = self.claimed_by()
        if held is None or held[0] == run_id:
            self._claim.unlink(missing_ok=True)


def _read(path: Path) -> Record:
    raw = json.loads(path.read_text())
    return Record(**{**raw, **{name: tuple(raw.get(name, ())) for name in ("namespaces", "images")}})
