"""The cluster's cgroups, in every hierarchy that the machine has (version 1, hybrid, or pure version 2).

Everything that the cluster runs is in `meshlab-NAME` or below it, from the supervisor's first step on. So
what belongs to the cluster is a question to the kernel, which no kill and no recycled process id can spoil.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshlab.core.errors import ClusterError
from meshlab.core.waiting import wait

log = logging.getLogger(__name__)
SYSTEM = "system"  # the child that holds our own processes; pods are beside it
V2_CONTROLLERS = (
    "cpuset",
    "cpu",
    "io",
    "memory",
    "pids",
    "hugetlb",
)  # what kubelet asks of a version 2 hierarchy


@dataclass(frozen=True)
class Hierarchies:
    """Where the machine's cgroup hierarchies are mounted.

    mounts: those with controllers, where we make our cgroups. unified: there is one, of version 2. bare: the
    version 2 hierarchy of a hybrid machine, without controllers; runc makes cgroups there all the same.
    """

    mounts: tuple[Path, ...]
    unified: bool
    bare: tuple[Path, ...] = ()

    @classmethod
    def here(cls, mountinfo: Path = Path("/proc/self/mountinfo")) -> Hierarchies:
        """Read this machine's.

        On a hybrid machine the version 2 hierarchy holds no controllers and is left out.
        """
        first: dict[str, list[Path]] = {"cgroup": [], "cgroup2": []}
        for line in mountinfo.read_text().splitlines():
            left, _, right = line.partition(" - ")
            kind = right.split()[0]
            if kind in first:
                first[kind].append(Path(left.split()[4]))
        v1, v2 = tuple(dict.fromkeys(first["cgroup"])), tuple(first["cgroup2"][:1])
        return cls(v1, False, v2) if v1 else cls(v2, True)

    def make(self, top: str, children: Iterable[str]) -> None:
        """Make the cgroup `top` and its children in every hierarchy.

        Args:
            top: Its name, without a slash.
            children: Names of cgroups below it.

        Raises:
            ClusterError: A hierarchy is not writable.
        """
        names = [top, *(f"{top}/{child}" for child in children)]
        for mount in self.mounts:
            try:
                if self.unified:
                    _delegate(mount)
                for name in names:
                    (mount / name).mkdir(exist_ok=True)
                    if not self.unified:
                        _fill_cpuset(mount / name)
                    elif name == top:
                        _delegate(mount / name)
            except OSError as problem:
                raise ClusterError(
                    f"the cgroup {top} can't be made in {mount}: {problem.strerror}",
                    remedy="run as root, with the cgroup file system mounted writable",
                ) from problem

    def join(self, name: str) -> None:
        """Move this process, and so all that it will start, into the cgroup `name` of every hierarchy."""
        for mount in self.mounts:
            # "0" is the writer itself, whatever process id namespace it is in.
            (mount / name / "cgroup.procs").write_text("0\n")

    def folders(self, top: str) -> list[Path]:
        """Return the cgroup's folders and all below it, in every hierarchy, deepest first."""
        places = (*self.mounts, *self.bare)
        found = [folder for mount in places for folder, _, _ in os.walk(mount / top, topdown=False)]
        return [Path(folder) for folder in found]

    def processes(self, top: str) -> frozenset[int]:
        """Return ids of the processes in the cgroup or below it, in any hierarchy."""
        ids: set[int] = set()
        for folder in self.folders(top):
            try:
                ids.update(int(word) for word in (folder / "cgroup.procs").read_text().split())
            except OSError as problem:
                log.debug("%s went away: %s", folder, problem)  # the kernel removes it while we read
        ids.discard(0)  # a process of a namespace that we can't see
        return frozenset(ids)

    def remove(self, top: str, *, timeout: float = 10.0) -> None:
        """Remove the cgroup and all below it.

        Args:
            top: Its name, without a slash.
            timeout: Seconds that processes in it get to end.

        Raises:
            WaitTimeout: Processes keep it busy.
        """
        wait(
            f"the cgroup {top} to be empty",
            lambda: [folder for folder in self.folders(top) if not _removed(folder)],
            ready=lambda busy: not busy,
            describe=lambda busy: f"{len(busy)} in use: {', '.join(map(str, busy[:3]))}",
            timeout=timeout,
            delay=0.02,
            remedy="see which processes are listed in their cgroup.procs, end them and run `make down` again",
        )


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # a process in it is still ending
    return True


def _fill_cpuset(folder: Path) -> None:
    """A version 1 cpuset starts empty and then refuses processes: give it what its parent has."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = folder / name
        if file.exists() and not file.read_text().strip():
            inherited = (folder.parent / name).read_text().strip()
            if inherited:
                file.write_text(inherited)


def _delegate(folder: Path) -> None:
    """Version 2: let the children of `folder` have the controllers that kubelet needs.

    As far as the machine has them.
    """
    present = (folder / "cgroup.controllers").read_text().split()
    switched = (folder / "cgroup.subtree_control").read_text().split()
    missing: Sequence[str] = [name for name in V2_CONTROLLERS if name in present and name not in switched]
    if missing:
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in missing))
