"""What exists of a cluster on this machine now, asked of the kernel and not remembered.

To the cluster belongs what the record names, what is in its cgroups or network namespaces, and what is mounted below
its folder, whatever started it and whether its supervisor still lives or not.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from meshlab.clusters.base import Leftovers
from meshlab.clusters.local import network
from meshlab.clusters.local.cgroups import Hierarchies
from meshlab.clusters.local.layout import NETNS_DIR, Layout
from meshlab.clusters.local.state import Record

PROC = Path("/proc")


def take(layout: Layout, record: Record | None, hierarchies: Hierarchies) -> Leftovers:
    """List what exists of a cluster now.

    Args:
        layout: The cluster.
        record: What was written down when it was made, None without.
        hierarchies: This machine's cgroups.

    Returns:
        Processes, mounts (the cell's included), network namespaces, links, cgroups and the folder of the cluster.
    """
    pids = processes(layout, record, hierarchies)
    # By name too, not only by record: what looks like the cluster's after a removal has to be seen.
    expected = {*layout.namespaces, *(record.namespaces if record else ())}
    names = sorted(expected & network.namespaces())
    links = sorted({layout.host_link, *([record.link] if record else [])} & network.links())
    return Leftovers(
        {
            "processes": tuple(f"{pid} {describe(pid)}" for pid in sorted(pids)),
            "mounts": mounts(layout, pids),
            "namespaces": tuple(names),
            "links": tuple(links),
            "cgroups": tuple(str(folder) for folder in hierarchies.folders(layout.cgroup)),
            "folders": (str(layout.root),) if layout.root.exists() else (),
        }
    )


def processes(layout: Layout, record: Record | None, hierarchies: Hierarchies) -> frozenset[int]:
    """Find the processes of a cluster: in its cgroups, in its network namespaces, or given its plan as an argument.

    A pager on one of its logs is not the cluster's, so not everything that names its folder is.

    Args:
        layout: The cluster.
        record: What was written down when it was made, None without.
        hierarchies: This machine's cgroups.

    Returns:
        Process ids on this machine.
    """
    found = set(hierarchies.processes(layout.cgroup))
    inodes = {
        (NETNS_DIR / name).stat().st_ino for name in (record.namespaces if record else ()) if _is_there(name)
    }
    for pid in _pids():
        if pid in found or pid == os.getpid():
            continue
        if _netns(pid) in inodes or str(layout.plan) in _command_line(pid):
            found.add(pid)
    return frozenset(found)


def mounts(layout: Layout, pids: frozenset[int]) -> tuple[str, ...]:
    """Mount points below the cluster's folder: this machine's, and those of the cells that `pids` live in."""
    found = {str(point) for point in host_mounts(layout)}
    seen: set[str] = {_link("self", "mnt")}
    for pid in sorted(pids):
        cell = _link(str(pid), "mnt")
        if not cell or cell in seen:
            continue
        seen.add(cell)
        found.update(
            f"{point} (in the cell)" for point in _mount_points(str(pid)) if _below(layout.root, point)
        )
    return tuple(sorted(found))


def host_mounts(layout: Layout) -> list[Path]:
    """Mount points below the cluster's folder that this process sees, deepest first."""
    found = [point for point in _mount_points("self") if _below(layout.root, point)]
    return sorted(found, key=lambda point: len(point.parts), reverse=True)


def describe(pid: int) -> str:
    """Return a process's command line, cut to one short line, its state, and where in the kernel it waits (proc(5))."""
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        place = (PROC / str(pid) / "wchan").read_text()
    except OSError:
        return "(ended)"
    return f"{shlex.join(_command_line(pid))[:120] or '(ending)'} [{state} {place}]"


def _below(root: Path, point: Path) -> bool:
    return point == root or root in point.parents


def _is_there(name: str) -> bool:
    return (NETNS_DIR / name).exists()


def _pids() -> Iterator[int]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def _link(pid: str, kind: str) -> str:
    try:
        return str((PROC / pid / "ns" / kind).readlink())
    except OSError:
        return ""  # it ended meanwhile


def _netns(pid: int) -> int:
    text = _link(str(pid), "net")
    return int(text[5:-1]) if text else -1


def launched(layout: Layout, known: int | None = None) -> int | None:
    """Return the id of a process that was given the cluster's plan: the supervisor, or what starts it.

    known: what an earlier call found; as long as it is there, no other process is looked at.
    """
    candidates = itertools.chain([] if known is None else [known], _pids())
    return next((pid for pid in candidates if str(layout.plan) in _command_line(pid)), None)


def _command_line(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _mount_points(pid: str) -> list[Path]:
    try:
        lines = (PROC / pid / "mountinfo").read_text().splitlines()
    except OSError:
        return []
    # Spaces and other separators are written as octal escapes.
    return [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
