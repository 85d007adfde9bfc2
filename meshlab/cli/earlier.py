"""How long the steps of earlier runs took on this machine: what a person who waits wants to know of this one.

Only runs of one kind are compared. A run that compiles takes many times as long as one that finds all compiled, so
its kind is the first thing that it compiles; the others' kind is NOTHING.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from meshlab.run.compiles import COMPILE

RUNS = 5  # the newest of a kind that came to their end
LOOKED_AT = 30  # directories at most
NOTHING = ""  # the kind of a run that compiles nothing
CHECK = '"event":"check"'  # such a line tells no time, and all of them are nearly all of a journal

# The step's name → seconds that it took, and seconds from its begin to the run's end.
Steps = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Times:
    """Seconds, by the step's name. took: of the step. rest: from its begin to the run's end."""

    took: Mapping[str, float] = field(default_factory=dict)
    rest: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Earlier:
    """What runs of each kind took."""

    kinds: Mapping[str, Times] = field(default_factory=dict)

    def of(self, kind: str) -> Times:
        """Return what runs of a kind took; empty where there is none."""
        return self.kinds.get(kind, Times())


def earlier(run: Path, flow: str, provider: str) -> Earlier:
    """Read the newest runs beside this one that are of its flow and cluster provider, and came to their end.

    Args:
        run: This run's directory.
        flow: Its flow.
        provider: Its cluster's: local, existing or gke.

    Returns:
        The medians; none where there is no such run. What can't be read is left out: it is only told, and nothing hangs on it.
    """
    others = sorted((each for each in run.parent.glob("*/evidence/journal.jsonl")), reverse=True)
    found: defaultdict[str, list[Steps]] = defaultdict(list)
    for path in islice(others, LOOKED_AT):
        if path.parents[1] != run:
            with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                for kind, steps in _steps(path, flow, provider):
                    found[kind].append(steps)
    return Earlier({kind: _medians(runs[:RUNS]) for kind, runs in found.items()})


def _medians(runs: list[Steps]) -> Times:
    names = {name for one in runs for name in one}
    return Times(
        {name: median(one[name][0] for one in runs if name in one) for name in names},
        {name: median(one[name][1] for one in runs if name in one) for name in names},
    )


def _steps(path: Path, flow: str, provider: str) -> Iterator[tuple[str, Steps]]:
    """The run's kind, and its steps; nothing for a run of another flow or provider, and for one that was cut off.

    After its last compile a run goes on as one that compiles nothing: the steps from there on count as such a run's, too.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in lines if CHECK not in line]
    names = [event["event"] for event in events]
    facts: dict[str, Any] = next((event["facts"] for event in events if event["event"] == "facts"), {})
    same = events[0]["flow"] == flow and facts.get("cluster", {}).get("provider") == provider
    if not same or "ended" not in names or "resumed" in names:
        return
    end = _moment(events[names.index("ended")])
    steps = [event for event in events if event["event"] == "step" and event["state"] in ("done", "failed")]
    rest = {each["name"]: end - _moment(each) + each["seconds"] for each in steps}
    whole = {each["name"]: (each["seconds"], rest[each["name"]]) for each in steps}
    compiles = [event for event in events if event["event"] == COMPILE]
    if not compiles:
        yield NOTHING, whole
        return
    yield compiles[0]["what"], whole
    after = end - _moment(compiles[-1])
    yield NOTHING, {name: times for name, times in whole.items() if times[1] <= after}


def _moment(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()
