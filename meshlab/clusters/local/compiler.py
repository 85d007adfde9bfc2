"""Runs the Go compiler on one stage: what is missing, compiling it with progress, modules' sources."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from meshlab.clusters.local import compile_profile, compiler_output, pins, toolchain
from meshlab.clusters.local.pins import Stage
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.process import Completed, Runner
from meshlab.core.progress import Progress, Update
from meshlab.core.text import time_left
from meshlab.core.waiting import Clock, SystemClock

LOOKUP_SECONDS = 1800.0  # includes the first download of every module
COMPILE_SECONDS = 3600.0
LINK_ONLY = "not installed but available in build cache"  # cmd/go's StaleReason of a compiled main package
# A package costs what starting the compiler does, and then by its source; a link as much as two megabytes of source.
PACKAGE_WEIGHT, LINK_WEIGHT = 20_000, 2_000_000  # bytes of source
LISTED = '{{.Stale}}\t{{.ImportPath}}\t{{.Dir}}\t{{join .GoFiles ","}}\t{{.StaleReason}}'
RESUMES = "run again; what was downloaded and compiled so far is kept"


@dataclass(frozen=True)
class Compiler:
    """The compiler at work on a stage.

    search_path: where Go is looked for, as PATH. log_file: gets every command and all it said. progress: told
    of each download and each package. stop: ends the command that is running. clock: measures. Every method raises
    BuildError with the first errors and a remedy.
    """

    stage: Stage
    runner: Runner
    search_path: str
    log_file: Path
    progress: Progress
    stop: threading.Event | None = None
    clock: Clock = field(default_factory=SystemClock)

    @property
    def what(self) -> str:
        """The work's name, in progress and in errors."""
        return f"compile {self.stage.name}"

    def tell(self, detail: str, done: int = 0, total: int = 0) -> None:
        """Report progress.

        Args:
            detail: What is done now.
            done: Packages compiled so far.
            total: Packages to compile, 0 where that is not known.
        """
        self.progress(Update(self.what, done, total, detail))

    def missing(self) -> dict[str, int]:
        """Download what is missing of the modules, and find the packages that are not in Go's cache yet: name → weight."""
        downloads = 0

        def heard(line: str) -> None:
            nonlocal downloads
            if line.startswith("go: downloading "):
                downloads += 1
                self.tell(f"downloading module {downloads}: {line.removeprefix('go: downloading ')}")

        self.tell("looking up what has to be compiled")
        packages = [target.package for target in self.stage.targets]
        listing = ["list", *_flags(self.stage), "-deps", "-f", LISTED]
        found: dict[str, int] = {}
        for line in self._go([*listing, *packages], LOOKUP_SECONDS, heard).stdout.splitlines():
            stale, name, folder, files, reason = line.split("\t", 4)
            if stale == "true" and LINK_ONLY not in reason:
                found[name] = PACKAGE_WEIGHT + sum(_size(Path(folder, file)) for file in files.split(","))
        return found

    def compile(self, into: Path, scratch: Path, missing: Mapping[str, int], lookup: float = 0.0) -> None:
        """Build the stage's targets into a folder, under the names that Go gives them; keep beside the log where time went.

        Args:
            into: The folder.
            scratch: An empty folder for the compiler's own files.
            missing: Packages to compile, of which -v names each as its compile begins, with their weights; linking the
                binaries counts as the rest.
            lookup: Seconds that finding them took.
        """
        binaries = len(self.stage.targets)
        steps, weight = len(missing) + binaries, sum(missing.values()) + LINK_WEIGHT * binaries
        names: set[str] = set()
        done, began = 0, self.clock.now()

        def heard(line: str) -> None:
            nonlocal done
            if " " in line or line.startswith("#") or line in names:
                return  # an error's text, not a package's name
            left = time_left(self.clock.now() - began, done / weight)
            names.add(line)
            done += missing.get(line, 0)  # it begins now: what was begun before is done, more or less
            begun = min(len(names), len(missing))
            what = line if begun < len(missing) else f"linking {binaries} binaries"
            self.tell(f"{left}; {what}" if left else what, begun, steps)

        self.tell(f"{len(missing)} packages to compile", 0, steps)
        packages = [target.package for target in self.stage.targets]
        actions = scratch / "actions.json"
        # Go's own name for the flag is unstable; the versions that go.mod accepts have it, and a test starts one.
        words = ["build", *_flags(self.stage), "-v", f"-debug-actiongraph={actions}"]
        words += ["-ldflags", pins.ldflags(self.stage), "-o", f"{into}/"]
        garbage = toolchain.collection(toolchain.free_memory(), os.cpu_count() or 1)
        self._go([*words, *packages], COMPILE_SECONDS, heard, {"GOTMPDIR": str(scratch), **garbage})
        self._keep_profile(actions, lookup, self.clock.now() - began, garbage)

    def _keep_profile(self, actions: Path, lookup: float, seconds: float, garbage: Mapping[str, str]) -> None:
        with suppress(
            OSError, ValueError, KeyError
        ):  # a Go that writes them in another way: the binaries are good
            ran = compile_profile.works(json.loads(actions.read_text()))
            one = compile_profile.Profile(
                self.stage.name,
                round(lookup, 1),
                round(seconds, 1),
                os.cpu_count() or 1,
                garbage.get("GOGC", ""),
                ran,
            )
            compile_profile.keep(one, self.log_file.with_suffix(".profile.json"))

    def source(self, module: str) -> Path:
        """Return the folder with a module's source at its pinned version; downloaded where it is missing."""
        done = self._go(["mod", "download", "-json", module], LOOKUP_SECONDS)
        return Path(json.loads(done.stdout)["Dir"])

    def stopped(self) -> BuildError:
        """Return the error for a compile that was asked to stop."""
        return BuildError(f"{self.what} was stopped", remedy=RESUMES)

    def _go(
        self,
        words: list[str],
        seconds: float,
        on_line: Callable[[str], None] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a `go` command in the stage's module; its words go to the log, its failure is explained."""
        go = toolchain.find(self.runner, self.search_path).go
        # The compiler must not outlive a run that was killed: setpriv lets the kernel end it with its parent.
        argv = ["setpriv", "--pdeathsig", "TERM", str(go), *words]
        try:
            done = self.runner.run(
                argv,
                timeout=seconds,
                check=False,
                cwd=self.stage.directory,
                env={**toolchain.ENVIRONMENT, **(env or {})},
                on_line=on_line,
                stop=self.stop,
            )
        except ProcessError as problem:
            if self.stop is not None and self.stop.is_set():
                raise self.stopped() from problem
            remedy = problem.remedy or RESUMES
            raise BuildError(
                f"{self.what}: {problem.message}", remedy=remedy, retryable=problem.retryable
            ) from problem
        with self.log_file.open("a") as log:
            log.write(f"$ {' '.join(argv)}\n{done.stderr}")
        if done.returncode != 0:
            raise compiler_output.explain(self.what, done.stderr or done.stdout, str(self.log_file))
        return done


def _flags(stage: Stage) -> list[str]:
    return [*pins.BUILD_FLAGS, *(["-tags", ",".join(stage.tags)] if stage.tags else [])]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
