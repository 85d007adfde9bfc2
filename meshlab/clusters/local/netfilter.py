"""Asks the kernel how a node can enforce NetworkPolicies: it must hand the packets of pods to a queue.

Nothing is assumed from versions or configuration: in network namespaces that end with the process that asks, a queue is
bound and rules are made, those of nftables and, where the kernel lacks their queue, those of iptables.
`python -m meshlab.clusters.local.netfilter` is the process that speaks nftables.

Message and attribute numbers: the kernel's linux/netfilter/nf_tables.h, nfnetlink.h and nfnetlink_queue.h.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshlab.core.errors import ProcessError
from meshlab.core.process import Runner

QUEUE = 98  # number of the queue, in the node's network namespace
STEP = 20.0  # seconds; it takes a tenth, where modules need not be loaded
ANSWER = 5.0  # seconds that the kernel gets for an answer
FINE = "ok"
RESTORE = ("iptables-restore", "-w", "--noflush")
NETLINK_NETFILTER, ERROR = 12, 2
REQUEST, ACK, CREATE = 0x1, 0x4, 0x400
BEGIN, END = 0x10, 0x11  # of a batch
NFTABLES, NFQUEUE = 10, 3  # subsystems
NEW_TABLE, NEW_CHAIN, NEW_RULE, CONFIGURE = 0, 3, 6, 2
INET, POSTROUTING = 1, 4
NESTED = 0x8000
NAME = b"meshlab-probe\0"


@dataclass(frozen=True)
class Netfilter:
    """What the kernel refuses, in its words; empty where it can do it.

    Attributes:
        queue: A program that gets packets.
        nftables: Rules of nftables that hand packets to it.
        iptables: The same as rules of iptables; only tried where nftables can't.
    """

    queue: str = ""
    nftables: str = ""
    iptables: str = ""

    @property
    def refusal(self) -> str:
        """Why NetworkPolicies can't be enforced; empty where they can."""
        return self.queue or (f"{self.nftables}; {self.iptables}" if self.nftables and self.iptables else "")


def ask(runner: Runner) -> Netfilter:
    """Try what enforcing NetworkPolicies needs of the kernel. Nothing of it stays.

    Args:
        runner: Starts unshare and iptables-restore.

    Returns:
        What it refuses.
    """
    argv = ("unshare", "--net", sys.executable, "-m", "meshlab.clusters.local.netfilter")
    try:
        said = runner.run(argv, timeout=STEP, cwd=Path(__file__).parents[3]).stdout.splitlines()
    except ProcessError as problem:
        return Netfilter(queue=problem.message)
    if len(said) != 2:
        return Netfilter(queue=f"no answer about netfilter: {said}")
    queue, nftables = ("" if line == FINE else line for line in said)
    if queue or not nftables:
        return Netfilter(queue, nftables)
    try:
        restore = ("unshare", "--net", *RESTORE)
        runner.run(restore, input=iptables_rules("192.0.2.0/24"), timeout=STEP)
    except ProcessError as problem:
        return Netfilter(queue, nftables, problem.message)
    return Netfilter(queue, nftables)


def iptables_rules(pods: str) -> str:
    """Write what hands the first packet of each connection of a node's pods to the queue, before its source is rewritten.

    kubelet's probes pass, as root's other packets from the node do. While no program listens, packets are dropped.

    Args:
        pods: The addresses of the node's pods.

    Returns:
        The input of iptables-restore.
    """
    rules = (
        "-m owner --uid-owner 0 -j ACCEPT",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        f"-s {pods} -j NFQUEUE --queue-num {QUEUE}",
        f"-d {pods} -j NFQUEUE --queue-num {QUEUE}",
    )
    return "\n".join(["*mangle", *(f"-A POSTROUTING {rule}" for rule in rules), "COMMIT", ""])


def main() -> int:
    """Print two lines: what the kernel refuses of a queue, and of rules of nftables; `ok` where it can do it."""
    for messages in (bound(), rules()):
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
                kernel.settimeout(ANSWER)
                kernel.bind((0, 0))
                print(_refused(kernel, messages) or FINE)
        except OSError as problem:
            print(f"{next(iter(messages))}: {problem.strerror or problem}")
    return 0


def rules() -> dict[str, bytes]:
    """Return the batch of a table, a chain behind the routing, and the rules that the enforcer makes there; by name."""
    expressions = {
        # Who sent it, the state of its connection, and the queue.
        "meta": _attribute(1, _be32(1)) + _attribute(2, _be32(10)),
        "ct": _attribute(1, _be32(1)) + _attribute(2, _be32(0)),
        "queue": _attribute(1, struct.pack(">H", QUEUE)),
    }
    listed = b"".join(
        _attribute(1 | NESTED, _attribute(1, name.encode() + b"\0") + _attribute(2 | NESTED, data))
        for name, data in expressions.items()
    )
    hook = _attribute(1, _be32(POSTROUTING)) + _attribute(2, _be32(95))
    chain = _attribute(1, NAME) + _attribute(3, NAME) + _attribute(4 | NESTED, hook)
    batch = struct.pack(">BBH", 0, 0, NFTABLES)
    return {
        "a transaction of nftables": _message(BEGIN, 0, 1, batch),
        "a table of nftables": _nftables(NEW_TABLE, 2, _attribute(1, NAME)),
        "a chain of nftables": _nftables(NEW_CHAIN, 3, chain + _attribute(7, b"filter\0")),
        "a rule of nftables with a queue": _nftables(
            NEW_RULE, 4, _attribute(1, NAME) + _attribute(2, NAME) + _attribute(4 | NESTED, listed)
        ),
        "the end of a transaction": _message(END, 0, 5, batch),
    }


def bound() -> dict[str, bytes]:
    """Return the request to bind the queue, by name."""
    bind = _attribute(1, struct.pack(">BBH", 1, 0, 0))
    header = struct.pack(">BBH", 0, 0, QUEUE)
    return {"a netfilter queue": _message(NFQUEUE << 8 | CONFIGURE, ACK, 6, header + bind)}


def _nftables(kind: int, sequence: int, attributes: bytes) -> bytes:
    header = struct.pack(">BBH", INET, 0, 0)
    return _message(NFTABLES << 8 | kind, ACK | CREATE, sequence, header + attributes)


def _message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | flags, sequence, 0) + payload


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _be32(number: int) -> bytes:
    return struct.pack(">I", number)


def _refused(kernel: socket.socket, messages: Mapping[str, bytes]) -> str:
    """Send messages at once; the first that is refused, with the reason. Those that ask for it are acknowledged."""
    names = {struct.unpack_from("=I", each, 8)[0]: name for name, each in messages.items()}
    waited = {number for number, each in zip(names, messages.values(), strict=True) if each[6] & ACK}
    kernel.send(b"".join(messages.values()))
    while waited:
        answers = kernel.recv(65536)
        while answers:
            length, kind, _, number = struct.unpack_from("=IHHI", answers)
            error = -struct.unpack_from("=i", answers, 16)[0] if kind == ERROR else 0
            if error:
                return f"{names.get(number, 'a request')}: {os.strerror(error)}"
            waited.discard(number)
            answers = answers[(length + 3) & ~3 :]
    return ""


if __name__ == "__main__":
    sys.exit(main())
