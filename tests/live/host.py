"""What a run must leave as it found it: the machine's firewall, routes, mounts, links, namespaces, sysctls, processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_max",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "fs/inotify/max_user_instances",
)


def snapshot() -> dict[str, list[str]]:
    """Sorted lines per kind, with what changes by itself (counters, ages) left out."""
    return {
        "firewall": _firewall(),
        "routes": _lines("ip", "route", "show", "table", "all"),
        "links": sorted(line.split(":")[1].strip() for line in _lines("ip", "-o", "link")),
        "namespaces": _lines("ip", "netns"),
        "mounts": sorted(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": _cgroups(),
        "sysctls": [f"{name}={_sysctl(name)}" for name in SYSCTLS],
        "processes": _processes(),
        "container logs": sorted(str(path) for path in Path("/var/log/containers").glob("*")),
        "cni results": sorted(str(path) for path in Path("/var/lib/cni").rglob("*") if path.is_file()),
    }


def difference(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, list[str]]:
    """Kind → lines with + or -, only for kinds that differ."""
    found = {}
    for kind, lines in before.items():
        gone = [f"- {line}" for line in lines if line not in after[kind]]
        new = [f"+ {line}" for line in after[kind] if line not in lines]
        if gone or new:
            found[kind] = gone + new
    return found


def _firewall() -> list[str]:
    rules = []
    for program in ("iptables-save", "ip6tables-save", "iptables-legacy-save"):
        for line in _lines(program):
            if not line.startswith(("#", ":")):
                rules.append(f"{program}: {line}")
    return rules


def _lines(*argv: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return sorted(line for line in done.stdout.splitlines() if line.strip())


def _cgroups() -> list[str]:
    """Those that a lab makes, by name: a machine's other cgroups (sessions, services) come and go by themselves."""
    root, ours = Path("/sys/fs/cgroup"), ("meshlab", "kube", "k8s", "containerd", "runc", "cri")
    return sorted(
        str(path)
        for path in root.rglob("*")
        if len(path.relative_to(root).parts) <= 3
        and any(mark in str(path.relative_to(root)) for mark in ours)
        and path.is_dir()
    )


def _sysctl(name: str) -> str:
    path = Path("/proc/sys") / name
    return path.read_text().strip() if path.exists() else "(none)"


PROGRAMS = ("kube-", "kubelet", "etcd", "containerd", "pilot-", "envoy", "prometheus", "coredns", "jaeger")
# The temporary server that Prefect starts where none is configured is uvicorn's.
MODULES = ("meshlab", "flows", "uvicorn")


def _processes() -> list[str]:
    """Command lines of what only the lab starts: its programs, and modules run by this Python.

    What somebody else on the machine reads, edits or tests has the lab's words in its command line, too.
    """
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        module = words[2].partition(".")[0] if len(words) > 2 and words[1] == "-m" else ""
        if Path(words[0]).name.startswith(PROGRAMS) or (words[0] == sys.executable and module in MODULES):
            found.append(" ".join(words)[:200])
    return sorted(found)
