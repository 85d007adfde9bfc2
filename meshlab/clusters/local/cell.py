"""The cell that the cluster's processes live in: a process id namespace and a mount namespace of its own.

The supervisor is the cell's first process, so the kernel ends everything in it when the supervisor ends,
however that happens; and every mount that containerd and kubelet make is in the cell only, so that it goes
with them. Network namespaces are apart from this: see `network`.

Kubernetes and containerd have fixed places: shims' sockets in /run/containerd, links in /var/log/containers,
device plugins in /var/lib/kubelet, results in /var/lib/cni. In the cell those three folders are covered by
overlays whose upper part is the cluster's own folder, so this machine's are never written to. kubelet also
insists on the values of six kernel settings; files with those values cover them, so that the machine keeps
its own. Names are resolved by the cluster's DNS server, which nodes can reach.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from meshlab.clusters.local.layout import NETNS_DIR, RESOLV_CONF, Layout
from meshlab.core.errors import ProcessError
from meshlab.core.process import Runner

STEP = 20.0  # seconds; each of these commands takes milliseconds
RESOLVER = Path("/etc/resolv.conf")
HOST = "host"  # folder of the cluster with the upper parts
COVERED = (Path("/run"), Path("/var/lib"), Path("/var/log"))
# What kubelet wants to find (k8s.io/component-helpers/node/util/sysctl): with protectKernelDefaults it only
# looks.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def launch(layout: Layout, runner: Runner) -> None:
    """Start the supervisor as the first process of a new cell, in a session of its own; it outlives this process.

    A small process stays outside, waits for the supervisor, and takes it along when it is killed. `setsid --fork` makes
    it the child of init, so that this process has nothing to collect later.

    Args:
        layout: The cluster. Its plan must be written.
        runner: Starts processes.

    Raises:
        ProcessError: It was not started.
    """
    log = layout.logs / "supervisor.log"
    starter = runner.spawn(
        (
            *("setsid", "--fork"),
            *[
                "unshare",
                "--mount",
                "--propagation",
                "slave",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ],
            *(sys.executable, "-m", "meshlab.clusters.local.supervisor", layout.plan),
        ),
        log_file=log,
        cwd=Path(__file__).parents[3],
    )
    if starter.wait(timeout=STEP) != 0:
        raise ProcessError(f"the supervisor was not started, see {log}", argv=("setsid", "--fork", "unshare"))


def prepare(root: Path, runner: Runner) -> None:
    """Arrange the mounts, from inside the cell. root: the cluster's folder. Raises ProcessError."""
    host = root / HOST
    kept = os.open(root, os.O_PATH)  # stays reachable even if one of the covered folders contains it
    names = host / "netns"
    names.mkdir(parents=True, exist_ok=True)
    _mount(runner, "--rbind", NETNS_DIR, names)
    for folder in COVERED:
        upper, work = host / folder.name, host / f"{folder.name}.work"
        upper.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        options = f"lowerdir={folder},upperdir={upper.name},workdir={work.name}"
        # Relative folders: a comma or a colon in the cluster's path would end the option.
        runner.run(("mount", "-t", "overlay", "overlay", "-o", options, folder), timeout=STEP, cwd=host)
    _mount(runner, "--rbind", f"/proc/{os.getpid()}/fd/{kept}", root)
    # Volumes that pods share with each other propagate only through a shared mount: kubelet's folders are
    # below it.
    _mount(runner, "--make-rshared", root)
    NETNS_DIR.mkdir(parents=True, exist_ok=True)
    _mount(runner, "--rbind", names, NETNS_DIR)
    os.close(kept)
    if RESOLVER.exists():
        # The machine's resolver can't be reached from a node: a pull would wait for it until it gives up.
        _mount(runner, "--bind", root / RESOLV_CONF, RESOLVER)
    for name, value in KERNEL_SETTINGS.items():
        stand_in = host / "sysctl" / name.replace("/", ".")
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(f"{value}\n")
        _mount(runner, "--bind", stand_in, Path("/proc/sys") / name)


def outside(root: Path, inside: Path) -> Path:
    """Tell where something that the cell sees below a covered folder lies on this machine.

    Args:
        root: The cluster's folder.
        inside: A path in the cell, below one of COVERED.

    Returns:
        The path in the cluster's folder; what is written there before the cell is made is seen in it.
    """
    folder = next(each for each in COVERED if inside.is_relative_to(each))
    return root / HOST / folder.name / inside.relative_to(folder)


def _mount(runner: Runner, *words: str | Path) -> None:
    runner.run(("mount", *words), timeout=STEP)


def first_process(candidates: frozenset[int], proc: Path = Path("/proc")) -> int | None:
    """Tell which of the processes (ids on this machine) is the first of a cell: the supervisor.

    None: none of them.
    """
    for pid in sorted(candidates):
        try:
            lines = (proc / str(pid) / "status").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        ids = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
        if len(ids) == 2 and ids[1] == "1":
            return pid
    return None


def end(pid: int, signum: signal.Signals) -> None:
    """Send a signal to the supervisor; one that has ended already is fine.

    Args:
        pid: Its process id on this machine.
        signum: The signal.
    """
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
