"""What can be known to keep a local cluster from coming up, before anything is touched. All of it at once."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from meshlab.clusters.local import (
    archives,
    build,
    containerd,
    inotify,
    network,
    network_policy,
    pins,
    pull,
)
from meshlab.clusters.local.cgroups import Hierarchies
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.state import State
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.errors import MeshlabError, Problem
from meshlab.core.process import Runner, SystemRunner

PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "mmdebstrap": "mmdebstrap",
}  # program → Debian package
CNI_PROGRAMS = ("ptp", "host-local", "portmap", "loopback")
DISK_COLD, DISK_WARM = 8, 2  # GB: with the compile's caches, and without
MEMORY = 4  # GB that a lab with three nodes takes, some air included
GB = 1e9
ROUTE_TYPES = ("local", "broadcast", "unreachable", "multicast")  # stand before the destination
INSTALL = "`make lab` installs it"


def problems(settings: LocalSettings, machine: Machine, *, runner: Runner | None = None) -> list[Problem]:
    """Find everything that stands in the way of a local cluster. Touches nothing.

    Args:
        settings: Of the cluster.
        machine: This machine: its folders, its PATH.
        runner: Asks for this machine's routes, and what its kernel can.

    Returns:
        Each problem with its remedy; empty where there is none.
    """
    if sys.platform != "linux":
        return [Problem("--cluster local", f"needs Linux, this is {sys.platform}", "use --cluster existing")]
    layout = Layout.of(settings, machine)
    state = State(layout)
    try:
        record, holder = state.record(), state.claimed_by()
    except PermissionError:
        record = holder = None
    found = [
        *_version(settings),
        *archives.problems(settings.image_archives),
        *pull.problems(settings.pull or "never", machine),
        *(privileges := [*_privileges()]),
        *_programs(machine),
        *_resources(layout, machine),
        *_paths(layout),
        *_used_by(layout, holder),
    ]
    if not privileges:  # else the answer would be about them
        found += network_policy.problems(settings, runner or SystemRunner())
    if record is None:
        # What the record names is the cluster's: it is adopted or replaced. The rest applies to a new cluster only.
        found += [*_taken(layout), *inotify.problems(layout, settings.inotify_instances)]
    if record is None or record.network != settings.network:
        found += _routes(layout, runner or SystemRunner(), machine)
    return found


def _version(settings: LocalSettings) -> Iterator[Problem]:
    compiled = pins.versions().kubernetes
    wanted = settings.kubernetes_version
    if wanted is not None and wanted.removeprefix("v") != compiled.removeprefix("v"):
        what = f"{wanted} is not what this distribution compiles"
        yield Problem("local.kubernetes_version", what, f"use {compiled}, or leave it out")


def _privileges() -> Iterator[Problem]:
    if os.geteuid() != 0:
        yield Problem("--cluster local", "needs root for namespaces, mounts and cgroups", "run as root")
        return
    remedy = "run on the machine itself, not in an unprivileged container"
    for what, allowed in (("cgroups", _writable_cgroups()), ("network namespaces", _may_make_namespaces())):
        if not allowed:
            yield Problem("--cluster local", f"{what} can't be made here", remedy)


def _writable_cgroups() -> bool:
    mounts = Hierarchies.here().mounts
    return bool(mounts) and all(os.access(mount, os.W_OK) for mount in mounts)


def _may_make_namespaces() -> bool:
    # CAP_SYS_ADMIN (21) and CAP_NET_ADMIN (12) in the effective set, see capabilities(7).
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return bool(held >> 21 & 1 and held >> 12 & 1)
    return False


def _programs(machine: Machine) -> Iterator[Problem]:
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=machine.path) is None:
            what = f"the program {program} is missing"
            yield Problem("--cluster local", what, f"{INSTALL}: apt-get install {package}")
    missing = [name for name in CNI_PROGRAMS if not (containerd.CNI_PLUGINS / name).exists()]
    if missing:
        what = f"CNI plugins are missing in {containerd.CNI_PLUGINS}: {', '.join(missing)}"
        yield Problem("--cluster local", what, f"{INSTALL}: apt-get install containernetworking-plugins")


def _resources(layout: Layout, machine: Machine) -> Iterator[Problem]:
    needed = DISK_WARM if build.built("cluster", machine) else DISK_COLD
    for folder in dict.fromkeys((_existing(machine.cache), _existing(layout.root))):
        free = shutil.disk_usage(folder).free / GB
        if free < needed:
            what = f"{folder} has {free:.1f} GB free, {needed} are needed"
            yield Problem("--cluster local", what, "make room")
    total = psutil.virtual_memory().total / GB
    if total < MEMORY:
        what = f"the machine has {total:.1f} GB of memory, {MEMORY} are needed"
        yield Problem("--cluster local", what, "use a larger one")


def _paths(layout: Layout) -> Iterator[Problem]:
    longest = layout.nodes[-1].root / "kubelet" / "device-plugins" / "kubelet.sock"
    if len(os.fsencode(longest)) > containerd.SOCKET_MAX:
        what = f"{layout.root} is too long a path for sockets below it"
        yield Problem("XDG_STATE_HOME", what, "set XDG_STATE_HOME to a shorter one")


def _used_by(layout: Layout, held: tuple[str, int] | None) -> Iterator[Problem]:
    if held is not None:
        what = f"cluster {layout.name} is used by run {held[0]} (process {held[1]})"
        yield Problem("local.name", what, "wait for it, or use another name and network")


def _taken(layout: Layout) -> Iterator[Problem]:
    for kind, command, found in (
        ("network namespace", "netns", network.namespaces() & set(layout.namespaces)),
        ("link", "link", network.links() & {layout.host_link}),
    ):
        for name in sorted(found):
            what = f"a {kind} {name} exists, and this cluster did not create it"
            yield Problem("local.name", what, f"use another name, or: ip {command} delete {name}")


def _routes(layout: Layout, runner: Runner, machine: Machine) -> Iterator[Problem]:
    if shutil.which("ip", path=machine.path) is None:
        return
    wanted = ipaddress.IPv4Network(layout.everything)
    try:
        lines = runner.run(("ip", "-4", "route", "show", "table", "all"), timeout=10).stdout.splitlines()
    except MeshlabError as problem:
        what = f"this machine's routes can't be read: {problem.message}"
        yield Problem("local.network", what, "run as root")
        return
    for line in lines:
        words = [word for word in line.split()[:2] if word not in ROUTE_TYPES]
        try:
            route = ipaddress.IPv4Network(words[0])
        except (ValueError, IndexError):
            continue  # `default`: everything has a default route
        # A route to a larger range does no harm: the cluster's is narrower and wins.
        if route.subnet_of(wanted) and layout.host_link not in line.split():
            what = f"{wanted} is used already: {line.strip()}"
            yield Problem("local.network", what, "use another one, as --set local.network=10.200")
            return


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
