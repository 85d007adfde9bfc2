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


@dataclass(frozen=True)
class Step:
    """A step that ran. began, ended: seconds since the run began."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True)
class Timeline:
    """A run: its flow, its whole time in seconds, and its steps in the order in which they ended."""

    run_id: str
    flow: str
    seconds: float
    steps: tuple[Step, ...]

    @property
    def between(self) -> float:
        """Seconds in which no step ran: Prefect's own work, and that of the flow's functions."""
        covered, reached = 0.0, 0.0
        for one in sorted(self.steps, key=lambda step: step.began):
            covered += max(0.0, one.ended - max(one.began, reached))
            reached = max(reached, one.ended)
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
    steps = []
    for event in events:
        if event["event"] == "step" and event["state"] in ("done", "failed") and event.get("seconds"):
            ended = _moment(event["at"]) - first
            steps.append(Step(event["name"], max(0.0, ended - event["seconds"]), ended))
    last = next((event for event in reversed(events) if event["event"] == "ended"), events[-1])
    return Timeline(named["run_id"], named["flow"], _moment(last["at"]) - first, tuple(steps))


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def path_table(run: Timeline) -> str:
    """Tell the critical path as lines: each step with its seconds, and the seconds that passed before it.

    Args:
        run: The run.
    """
    path: Sequence[Step] = run.critical_path()
    lines = [f"{run.flow} {run.run_id}: {run.seconds:.1f} s, of which {run.between:.1f} s between steps", ""]
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
