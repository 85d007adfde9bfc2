"""Reads the times of a run's steps out of its journal: the critical path, and what lies between steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from meshlab.core.errors import MeshlabError

TOLERANCE = 0.05  # seconds by which a step may begin before the one that it waited for was written down
# Runs beside the loops until the flow ends it: it waits for them, and nothing waits for it.
BACKGROUND = ("mixed-traffic",)
UP = "cluster-up.jsonl"  # what the process that brings the cluster up says


@dataclass(frozen=True)
class Step:
    """A step that ran. began, ended: seconds since the run began."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True)
class Timeline:
    """A run: its flow, its whole time in seconds, its steps in the order in which they ended, and when anything was done.

    A step whose work a process began before Prefect was there (start-cluster) begins with that process. worked: from and to
    of what was really done, in seconds: of such a step that process's own time, and the step's own from its start on.
    """

    run_id: str
    flow: str
    seconds: float
    steps: tuple[Step, ...]
    worked: tuple[tuple[float, float], ...]

    @property
    def between(self) -> float:
        """Seconds in which nothing of the lab was done: Prefect's import, server and own work, and the flow's functions."""
        covered, reached = 0.0, 0.0
        for began, ended in sorted(self.worked):
            covered += max(0.0, ended - max(began, reached))
            reached = max(reached, ended)
        return max(0.0, self.seconds - covered)

    @property
    def share_between(self) -> float:
        """`between` as a share of the whole time, 0 to 1."""
        return self.between / self.seconds if self.seconds else 0.0

    def critical_path(self) -> tuple[Step, ...]:
        """Return the steps that the run's end waited for: of each one, the one before it that ended last."""
        steps = [step for step in self.steps if step.name not in BACKGROUND]
        if not steps:
            return ()
        path = [max(steps, key=lambda step: step.ended)]
        while True:
            earlier = [
                step
                for step in steps
                if step.ended <= path[0].began + TOLERANCE and step.ended < path[0].ended
            ]
            if not earlier:
                return tuple(path)
            path.insert(0, max(earlier, key=lambda step: step.ended))


def read(directory: Path) -> Timeline:
    """Read a run's journal.

    Args:
        directory: The run's.

    Returns:
        Its steps. One that was cut off is left out; a run that was taken up again counts from its first begin.

    Raises:
        MeshlabError: There is no journal, or nothing in it tells a time.
    """
    path = directory / "evidence" / "journal.jsonl"
    remedy = "name the directory of a run, runs/RUN-ID"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise MeshlabError(f"{path} can't be read: {problem.strerror}", remedy=remedy) from problem
    events = [json.loads(line) for line in lines if line.endswith("}")]
    named = next((event for event in events if event.get("event") == "run"), None)
    if named is None:
        raise MeshlabError(f"{path} does not say which run it is of", remedy=remedy)
    first = _moment(named["started"])
    steps, worked, started = [], [], dict[str, float]()
    for event in events:
        if event["event"] != "step":
            continue
        name, at = event["name"], _moment(event["at"]) - first
        if event["state"] == "started":
            started[name] = at
        elif event["state"] in ("done", "failed") and event.get("seconds"):
            steps.append(Step(name, max(0.0, at - event["seconds"]), at))
            if name not in BACKGROUND:
                worked.append((max(started.get(name, 0.0), steps[-1].began), at))
    if worked and (up := _up_ended(directory, first)) is not None:
        worked.append((0.0, min(up, min(began for began, _ in worked))))
    last = next((event for event in reversed(events) if event["event"] == "ended"), events[-1])
    seconds = _moment(last["at"]) - first
    return Timeline(named["run_id"], named["flow"], seconds, tuple(steps), tuple(worked))


def _up_ended(directory: Path, first: float) -> float | None:
    """When the process that brought the cluster up, before Prefect was there, said its last word; None where there was none."""
    try:
        return max(0.0, (directory / "evidence" / UP).stat().st_mtime - first)
    except OSError:
        return None


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def path_table(run: Timeline) -> str:
    """Tell the critical path as lines: each step with its seconds, and the seconds that passed before it.

    Args:
        run: The run.
    """
    path: Sequence[Step] = run.critical_path()
    lines = [
        f"{run.flow} {run.run_id}: {run.seconds:.1f} s, of which {run.between:.1f} s in which nothing of the lab was done",
        "",
    ]
    reached = 0.0
    for step in path:
        lines.append(
            f"{step.ended - step.began:8.1f} s  {step.name:<24} {max(0.0, step.began - reached):6.1f} s waited"
        )
        reached = step.ended
    on_path = sum(step.ended - step.began for step in path)
    lines.append(
        f"{on_path:8.1f} s  on the critical path, of {run.seconds:.1f} s; {len(path)} of {len(run.steps)} steps"
    )
    return "\n".join(lines) + "\n"
