"""Runs the Go compiler on one stage: what is missing, compiling it with progress, modules' sources."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from meshlab.clusters.local import compiler_output, pins, toolchain
from meshlab.clusters.local.pins import Stage
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.process import Completed, Runner
from meshlab.core.progress import Progress, Update

LOOKUP_SECONDS = 1800.0  # includes the first download of every module
COMPILE_SECONDS = 3600.0
LINK_ONLY = "not installed but available in build cache"  # cmd/go's StaleReason of a compiled main package
RESUMES = "run again; what was downloaded and compiled so far is kept"


@dataclass(frozen=True)
class Compiler:
    """The compiler at work on a stage.

    search_path: where Go is looked for, as PATH. log_file: gets every command and all it said. progress: told
    of each download and each package. stop: ends the command that is running. Every method raises BuildError
    with the first errors and a remedy.
    """

    stage: Stage
    runner: Runner
    search_path: str
    log_file: Path
    progress: Progress
    stop: threading.Event | None = None

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

    def missing(self) -> int:
        """Download what is missing of the modules, and count the packages that are not in Go's cache yet."""
        downloads = 0

        def heard(line: str) -> None:
            nonlocal downloads
            if line.startswith("go: downloading "):
                downloads += 1
                self.tell(f"downloading module {downloads}: {line.removeprefix('go: downloading ')}")

        self.tell("looking up what has to be compiled")
        packages = [target.package for target in self.stage.targets]
        listing = ["list", *_flags(self.stage), "-deps", "-f", "{{.Stale}} {{.StaleReason}}"]
        lines = self._go([*listing, *packages], LOOKUP_SECONDS, heard).stdout.splitlines()
        return sum(line.startswith("true") and LINK_ONLY not in line for line in lines)

    def compile(self, into: Path, scratch: Path, missing: int) -> None:
        """Build the stage's targets into a folder, under the names that Go gives them.

        Args:
            into: The folder.
            scratch: An empty folder for the compiler's own files.
            missing: Packages to compile, of which -v names each as its compile begins; linking the binaries counts as the
                rest.
        """
        steps = missing + len(self.stage.targets)
        begun = 0

        def heard(line: str) -> None:
            nonlocal begun
            if " " in line or line.startswith("#"):
                return  # an error's text, not a package's name
            begun = min(begun + 1, missing)
            self.tell(
                line if begun < missing else f"linking {len(self.stage.targets)} binaries", begun, steps
            )

        self.tell(f"{missing} packages to compile", 0, steps)
        packages = [target.package for target in self.stage.targets]
        words = ["build", *_flags(self.stage), "-v", "-ldflags", pins.ldflags(self.stage), "-o", f"{into}/"]
        self._go([*words, *packages], COMPILE_SECONDS, heard, {"GOTMPDIR": str(scratch)})

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
