"""What the supervisor runs: components, and the gates that tell when one may start.

Written as JSON, read by the daemon.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from meshlab.core.files import write_atomically


@dataclass(frozen=True)
class Gate:
    """Something that must answer before a component starts.

    kind: `unix` (target is a socket's path: it accepts a connection), `tcp` (the same for ADDRESS:PORT) or
    `https` (target is a URL: it answers 200, its certificate is signed by ca).
    """

    kind: Literal["unix", "tcp", "https"]
    target: str
    ca: str = ""


@dataclass(frozen=True)
class Component:
    """One long-running program.

    after: gates that must be open first; order: components with a lower one stop later.
    """

    name: str
    argv: tuple[str, ...]
    log: str
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[Gate, ...] = ()
    order: int = 0


@dataclass(frozen=True)
class Plan:
    """Everything that the supervisor needs to know. status: the file that it keeps up to date."""

    name: str
    root: str
    status: str
    cgroup: str
    components: tuple[Component, ...]

    def write(self, path: Path) -> None:
        """Write the plan; the file is whole or absent."""
        write_atomically(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what `write` wrote."""
        raw: dict[str, Any] = json.loads(path.read_text())
        components = tuple(_component(item) for item in raw.pop("components"))
        return cls(**raw, components=components)


def _component(raw: dict[str, Any]) -> Component:
    gates = tuple(Gate(**gate) for gate in raw.pop("after"))
    return Component(**{**raw, "argv": tuple(raw["argv"])}, after=gates)


def inside(netns: Path, argv: Sequence[str | Path]) -> tuple[str, ...]:
    """Return the command that runs a program in a network namespace.

    nsenter, not `ip netns exec`: that one mounts a fresh /sys, which hides the cgroups from kubelet.

    Args:
        netns: The file that holds the namespace.
        argv: The program and its arguments.

    Returns:
        The whole command.
    """
    return ("nsenter", f"--net={netns}", *(str(word) for word in argv))
