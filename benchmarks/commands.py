"""Runs commands and says what they took; a lab's run is told from its folder."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import steps
from meshlab.core.errors import MeshlabError
from meshlab.core.process import Completed, Runner

ROOT = Path(__file__).resolve().parents[1]
NAME, NETWORK = "mlbench", "10.183"
CLUSTER = ("--name", NAME, "--network", NETWORK)
LAB = ("--set", f"local.name={NAME}", "--set", f"local.network={NETWORK}")
LONGEST = 45 * 60.0  # seconds of one run, a compile included
VERDICTS = {0: "pass", 1: "fail", 4: "broken"}


@dataclass(frozen=True)
class Cost:
    """What a command took: wall seconds, processor seconds of its whole process tree that ended, and what it printed."""

    seconds: float
    cpu: float
    output: str


@dataclass(frozen=True)
class Bench:
    """What a part works with.

    runner: starts programs. folder: a folder of its own, empty. times: how often a thing is measured. run: the directory of
    a run that is there already, where the user named one.
    """

    runner: Runner
    folder: Path
    times: int = 3
    run: Path | None = None

    def python(self, *words: str, env: Mapping[str, str] | None = None, good: Sequence[int] = (0,)) -> Cost:
        """Run a module of this project in a process of its own.

        Args:
            *words: The module, and its arguments.
            env: Added to the environment.
            good: Exit codes that are right.

        Returns:
            What it took.

        Raises:
            MeshlabError: It ended otherwise, with the end of what it said.
        """
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = self.runner.run(
            [sys.executable, "-m", *words], timeout=LONGEST, check=False, cwd=ROOT, env={**(env or {})}
        )
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        _need(done, good)
        return Cost(took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout)

    def lab(
        self,
        name: str,
        *more: str,
        module: str = "flows.full_lab",
        verdict: str = "pass",
        env: Mapping[str, str] | None = None,
        watch: Path | None = None,
    ) -> tuple[Cost, Path]:
        """Run a flow with the bench's own Prefect, whose database is there, as from a user's second run on.

        Args:
            name: Of the folder that gets the run.
            *more: Words of the command line.
            module: The flow's.
            verdict: That the run must have; a benchmark of a lab that failed says nothing.
            env: Added to the environment.
            watch: Gets a note of each call of the API, and of the process's memory; see `benchmarks.watched`.

        Returns:
            What it took, and the run's directory.

        Raises:
            MeshlabError: It ended with another verdict.
        """
        runs = self.folder / name
        shutil.rmtree(runs, ignore_errors=True)
        runs.mkdir(parents=True)
        own = {"PREFECT_HOME": str(self.folder / "prefect"), **(env or {})}
        if env is None and not (self.folder / "prefect" / "prefect.db").exists():
            self.python("prefect", "server", "database", "upgrade", "-y", env=own)
        good = [code for code, word in VERDICTS.items() if word == verdict]
        start = (module,) if watch is None else ("benchmarks.watched", str(watch), module)
        cost = self.python(*start, "--runs-dir", str(runs), *more, env=own, good=good)
        run = next(path for path in runs.iterdir() if (path / "evidence").is_dir())
        _need_own_cluster(run)
        return cost, run

    def timeline(self) -> steps.Timeline:
        """Read the run that the user named.

        Raises:
            MeshlabError: None was named, or it can't be read.
        """
        if self.run is None:
            raise MeshlabError(
                "this part reads a run that was made",
                remedy='name it: make bench ARGS="PART --run runs/RUN-ID"',
            )
        return steps.read(self.run)


def _need(done: Completed, good: Sequence[int]) -> None:
    if done.returncode not in good:
        said = "\n".join((done.stderr or done.stdout).splitlines()[-12:])
        raise MeshlabError(
            f"{' '.join(done.argv[1:4])} ended with {done.returncode}, not {' or '.join(map(str, good))}:\n{said}",
            remedy="mend that first: what failed has no time worth telling",
        )


def _need_own_cluster(run: Path) -> None:
    try:
        started = json.loads((run / "evidence" / "steps" / "start-cluster.json").read_text())["result"]
    except FileNotFoundError:
        return
    if started["provider"] == "local" and started["adopted"]:
        raise MeshlabError(
            f"the cluster {NAME} was up before the run, which then neither starts nor removes one",
            remedy=f'make down ARGS="{" ".join(CLUSTER)}", and run the part again',
        )


def program(name: str) -> str:
    """Find a program on this process's PATH. Raises MeshlabError where it is missing."""
    found = shutil.which(name)
    if found is None:
        raise MeshlabError(f"{name} is missing", remedy=f"install {name}, or put it on PATH")
    return found
