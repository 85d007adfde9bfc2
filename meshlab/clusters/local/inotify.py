"""Room for many sidecars: how many inotify instances a user of this machine may have, and what a cluster changes of it.

Each proxy needs some and all are user 1337, so the machine's 128 are used up by about forty sidecars: the next proxy
ends with "assert failure: inotify_fd_ >= 0". A user namespace gives no room, for its owner is charged as well
(kernel/ucount.c). So the machine's limit is raised where somebody asks for it, and put back with the cluster.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.state import Record, State
from meshlab.core.errors import Problem

SYSCTL = "fs.inotify.max_user_instances"
LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
PER_NODE, AIR = 20, 5  # instances; measured: 59 for three nodes with a mesh


def problems(layout: Layout, wanted: int | None) -> Iterator[Problem]:
    """Tell what stands in the way of a new cluster.

    Args:
        layout: The cluster.
        wanted: Setting `local.inotify_instances`.

    Yields:
        The limit cannot be raised, or it is too low for the nodes.
    """
    limit = read_limit()
    if wanted is not None and wanted > limit:
        if not os.access(LIMIT, os.W_OK):
            remedy = f"raise it on the machine itself (sysctl {SYSCTL}={wanted}), and leave the setting out"
            yield Problem("local.inotify_instances", f"{LIMIT} can't be written here", remedy)
        limit = wanted
    used = sum(1 for entry in Path("/proc").glob("[0-9]*/fd/*") if _is_instance(entry))
    needed = used + PER_NODE * layout.node_count + AIR
    if limit < needed:
        what = f"is {limit}: {used} are in use, and {layout.node_count} nodes need {needed - used}"
        yield Problem(SYSCTL, what, f"--set local.inotify_instances={max(512, needed * 2)}")


def give(state: State, wanted: int | None) -> None:
    """Raise the machine's limit for a cluster, which has a record; what it was stands there first.

    Args:
        state: Of the cluster.
        wanted: Setting `local.inotify_instances`; None leaves the limit as it is.
    """
    limit, record = read_limit(), state.record()
    others = [each.inotify_before for each in state.neighbours() if each.inotify_before is not None]
    if wanted is None or record is None or (limit >= wanted and not others):
        return
    before = min([limit, *others]) if record.inotify_before is None else record.inotify_before
    state.write(replace(record, inotify_before=before, inotify_during=max(limit, wanted)))
    if wanted > limit:
        LIMIT.write_text(str(wanted))


def put_back(record: Record, neighbours: Iterable[Record]) -> None:
    """Put the machine's limit back to what it was before the cluster, or to what the clusters that stay have asked for.

    A limit that somebody else has changed meanwhile stays as it is.

    Args:
        record: Of the cluster.
        neighbours: Of the other clusters on this machine.
    """
    if record.inotify_before is None or read_limit() != record.inotify_during:
        return
    asked = [each.inotify_during for each in neighbours if each.inotify_during is not None]
    LIMIT.write_text(str(max(asked, default=record.inotify_before)))


def read_limit() -> int:
    """Return how many instances each user may have."""
    return int(LIMIT.read_text())


def _is_instance(descriptor: Path) -> bool:
    try:
        return descriptor.readlink().name == "anon_inode:inotify"
    except OSError:
        return False
