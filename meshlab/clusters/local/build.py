"""Compiles the embedded distribution from its pins, once, into the cache folder.

`<cache>/bin/<stage>-<key>/` holds the binaries and a manifest, which is written last; the key changes with
the pins. Go's own caches make an interrupted compile go on where it was.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshlab.clusters.local import compiler_output, pins
from meshlab.clusters.local.compiler import COMPILE_SECONDS, LOOKUP_SECONDS, Compiler
from meshlab.clusters.local.files import sha256, try_lock
from meshlab.clusters.local.pins import STAGES
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError
from meshlab.core.files import write_atomically
from meshlab.core.process import Runner
from meshlab.core.progress import Progress, silent
from meshlab.core.waiting import Clock, SystemClock, wait

MANIFEST = "manifest.json"
SOURCES = {
    "cluster": (pins.ISTIO,),
    pins.EARLIER: (pins.ISTIO,),
}  # modules whose source folders later steps read


def output_dir(stage: str, machine: Machine) -> Path:
    """Return the folder where the stage's binaries are, or will be, with today's pins."""
    return machine.cache / "bin" / f"{stage}-{pins.pins_key(STAGES[stage])}"


def built(stage: str, machine: Machine) -> dict[str, Path] | None:
    """Return the binaries of a stage, where all of them are compiled.

    It takes milliseconds and starts no process.

    Args:
        stage: A name of `pins.STAGES`.
        machine: This machine, for its cache folder.

    Returns:
        Name → path of each binary; None unless all are there, in the size that the manifest records.
    """
    folder = output_dir(stage, machine)
    recorded = _manifest(folder).get("binaries", {})
    found: dict[str, Path] = {}
    for target in STAGES[stage].targets:
        path = folder / target.name
        try:
            whole = path.stat().st_size == recorded[target.name]["size"] and os.access(path, os.X_OK)
        except (OSError, KeyError):
            return None
        if not whole:
            return None
        found[target.name] = path
    return found


def checksums(stage: str, machine: Machine) -> dict[str, str]:
    """Return the SHA-256 of each binary of a stage, as recorded when it was compiled.

    Args:
        stage: A name of `pins.STAGES`.
        machine: This machine, for its cache folder.

    Returns:
        Name → SHA-256 in hex; empty where the stage is not built.
    """
    recorded = _manifest(output_dir(stage, machine)).get("binaries", {})
    return {name: entry["sha256"] for name, entry in recorded.items()}


def build(
    stages: Sequence[str],
    *,
    machine: Machine,
    runner: Runner,
    log_dir: Path,
    progress: Progress = silent,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> dict[str, Path]:
    """Compile what is missing of some stages, in the order given.

    A warm call takes milliseconds and starts no process. Two runs at once are safe: the second says that it waits
    for the first, and takes its result.

    Args:
        stages: Names of `pins.STAGES`.
        machine: This machine: its cache folder, and the PATH on which Go is looked for.
        runner: Starts Go.
        log_dir: Gets `compile-<stage>.log`.
        progress: Gets the number of packages compiled, of how many.
        stop: Ends the compile when it is set.
        clock: Of the wait for another run; the machine's where not given.

    Returns:
        Name → path of every binary of the stages.

    Raises:
        BuildError: There is no Go, a module can't be had, the compiler refused it, the disk is full, or it was stopped.
        WaitTimeout: The other run never ends.
    """
    found: dict[str, Path] = {}
    for stage in stages:
        binaries = built(stage, machine)
        log_file = log_dir / f"compile-{stage}.log"
        compiler = Compiler(STAGES[stage], runner, machine.path, log_file, progress, stop)
        if binaries is None:
            folder = output_dir(stage, machine)
            try:
                with _only_us(folder, compiler, clock or SystemClock(stop)):
                    binaries = built(stage, machine) or _compile(compiler, folder)
            except OSError as problem:
                raise _unwritable(compiler, problem) from problem
        compiler.tell("done", len(binaries), len(binaries))
        found |= binaries
    return found


def module_dir(module: str, *, machine: Machine, runner: Runner, stage: str = "cluster") -> Path:
    """Return the folder with a Go module's source at its pinned version, for example Istio's with `samples/` in it.

    It costs nothing where the build recorded it and it is still there; else Go is asked, which downloads it where it is
    missing.

    Args:
        module: Its path, for example istio.io/istio; the stage requires it.
        machine: This machine: its cache folder, and the PATH on which Go is looked for.
        runner: Starts Go.
        stage: A name of `pins.STAGES`.

    Returns:
        The folder.

    Raises:
        BuildError: There is no Go, or the module can't be had.
    """
    folder = output_dir(stage, machine)
    recorded = _manifest(folder).get("modules", {}).get(module)
    if recorded and Path(recorded).is_dir():
        return Path(recorded)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Compiler(STAGES[stage], runner, machine.path, folder.with_suffix(".log"), silent).source(module)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):  # absent, or cut off by a full disk: then nothing is built
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def _only_us(folder: Path, compiler: Compiler, clock: Clock) -> Iterator[None]:
    """Hold the lock of an output folder. The kernel frees it when its holder dies, however it dies."""
    path = folder.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)

    def stopped(_: bool) -> BuildError | None:
        return compiler.stopped() if compiler.stop is not None and compiler.stop.is_set() else None

    with path.open("w") as handle:
        wait(
            f"another run to {compiler.what}",
            lambda: try_lock(handle),
            ready=bool,
            error=stopped,
            timeout=COMPILE_SECONDS + LOOKUP_SECONDS,
            describe=lambda free: "lock taken" if free else "waiting for another run that compiles the same",
            on_change=compiler.tell,
            remedy=f"see which process holds {path}, and end it",
            clock=clock,
        )
        yield


def _compile(compiler: Compiler, final: Path) -> dict[str, Path]:
    """Compile into a folder beside the final one, then move binary by binary, the manifest last."""
    started = time.monotonic()
    partial = final.with_suffix(".part")
    if partial.exists():  # left by a run that was killed
        shutil.rmtree(partial)
    out, scratch = partial / "out", partial / "scratch"
    out.mkdir(parents=True)
    scratch.mkdir()
    compiler.log_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        missing = compiler.missing()
        compiler.compile(out, scratch, missing, time.monotonic() - started)
        modules = {name: str(compiler.source(name)) for name in SOURCES.get(compiler.stage.name, ())}
        final.mkdir(exist_ok=True)
        targets = compiler.stage.targets
        binaries = {target.name: _keep(out / target.go_name, final / target.name) for target in targets}
        seconds = round(time.monotonic() - started, 1)
        record = {"stage": compiler.stage.name, "seconds": seconds, "modules": modules, "binaries": binaries}
        write_atomically(final / MANIFEST, json.dumps(record, indent=2) + "\n")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {name: final / name for name in binaries}


def _keep(source: Path, target: Path) -> dict[str, object]:
    """Move a finished binary to its place; returns its manifest entry, size in bytes and SHA-256."""
    entry: dict[str, object] = {"size": source.stat().st_size, "sha256": sha256(source)}
    source.replace(target)
    return entry


def _unwritable(compiler: Compiler, problem: OSError) -> BuildError:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return compiler_output.explain(compiler.what, str(problem), str(compiler.log_file))
    return BuildError(
        f"{compiler.what}: {problem}", remedy="make the cache folder and the log folder writable"
    )
