"""Prometheus' own web page, built from the sources that lie in the Go module which its binary is compiled from.

A binary without the build tag `builtinassets` serves what lies in `./web/ui/static` below its working directory
(web/ui/ui.go of Prometheus). How it is built: web/ui/build_ui.sh of the module. It costs a minute, so only a lab that
is kept, to be looked at, pays for it, once per version.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from meshlab.clusters.local import nodejs, pins
from meshlab.clusters.local.compiler import Compiler
from meshlab.clusters.local.files import locked
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.process import Runner
from meshlab.core.progress import Progress, Update

MODULE = "github.com/prometheus/prometheus"
WHAT = "build Prometheus' page"
PAGE = "mantine-ui"
COMMANDS: Sequence[tuple[str, ...]] = (
    # No package's script is run but that of esbuild, the one program that the build tool needs.
    ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--replace-registry-host=always"),
    ("npm", "rebuild", "esbuild"),
    ("bash", "build_ui.sh", f"--{PAGE}"),
)
SECONDS = 1200.0  # for each; a minute in all on two cores


def folder(machine: Machine) -> Path:
    """Return where the page lies, or will: a folder `static`, as Prometheus looks for it."""
    return machine.cache / "bin" / f"prometheus-page-{pins.versions().prometheus}"


def built(machine: Machine) -> Path | None:
    """Return the page's folder `static`, None where it is not built yet."""
    static = folder(machine) / "static"
    return static if (static / PAGE / "index.html").is_file() else None


def build(
    machine: Machine,
    *,
    runner: Runner,
    log_dir: Path,
    progress: Progress,
    stop: threading.Event | None = None,
) -> Path:
    """Build the page where it is not there yet.

    Args:
        machine: This machine: its cache folder, and the PATH on which Node.js and Go are looked for.
        runner: Starts npm and bash.
        log_dir: Gets `build-prometheus-page.log`.
        progress: Gets how far it is.
        stop: Ends the build when it is set.

    Returns:
        The folder `static`.

    Raises:
        BuildError: There is no Node.js, a package can't be had, or the build failed; the log has what was said.
    """
    final, log_file = folder(machine), log_dir / "build-prometheus-page.log"
    with locked(final.with_name(f"{final.name}.lock")):
        if found := built(machine):
            return found
        log_file.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f"{final.name}.part")
        shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
        try:
            compiler = Compiler(pins.STAGES["prometheus"], runner, machine.path, log_file, progress, stop)
            shutil.copytree(compiler.source(MODULE) / "web" / "ui", partial)
            _make_writable(partial)
            _run(partial, nodejs.search_path(machine, runner, stop), runner, log_file, progress, stop)
            shutil.rmtree(final, ignore_errors=True)
            final.mkdir(parents=True)
            (partial / "static").rename(final / "static")
        except OSError as problem:
            raise BuildError(
                f"{WHAT}: {problem}", remedy="make room, and the cache folder writable"
            ) from problem
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    found = built(machine)
    if found is None:
        raise BuildError(f"{WHAT}: it made no index.html", remedy=f"read {log_file}")
    return found


def _run(
    sources: Path,
    path: str,
    runner: Runner,
    log_file: Path,
    progress: Progress,
    stop: threading.Event | None,
) -> None:
    for index, command in enumerate(COMMANDS):
        progress(Update(WHAT, index, len(COMMANDS), " ".join(command[:3])))
        try:
            # The build must not outlive a run that was killed: setpriv lets the kernel end it with its parent.
            done = runner.run(
                ("setpriv", "--pdeathsig", "TERM", *command),
                timeout=SECONDS,
                check=False,
                cwd=sources,
                env={"PATH": path, "CI": "true"},
                stop=stop,
            )
        except ProcessError as problem:
            raise BuildError(f"{WHAT}: {problem.message}", remedy="run again") from problem
        with log_file.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}")
        if done.returncode != 0:
            last = "; ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise BuildError(
                f"{WHAT}: {' '.join(command[:2])} failed: {last}",
                remedy=f"read {log_file}; npm's registry is the one that its configuration names",
            )
    progress(Update(WHAT, len(COMMANDS), len(COMMANDS), "done"))


def _make_writable(root: Path) -> None:
    """Give the owner the right to write, which a module's files lack."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            os.chmod(path, path.stat().st_mode | 0o200)  # noqa: PTH101
