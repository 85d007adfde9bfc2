"""How often the regression rule finds what it should, and how often it cries wolf.

120 made-up nights, the real rule, the real store, the real alerts.

    python -m tests.bench.nights [--seeds 20] [--pure 400]

A night has the measures of a nightly validation. Noise is what such a lab shows: the machine has better and worse
nights (2 %, shared by all times), medians scatter by 3 %, p90 by 5 %, p99 of some hundred requests by 15 %, durations
of steps by 6 %, memory by 2 %, CPU by 6 %; one night in thirty the machine is busy and every time is up to 60 % longer;
one in fifty a few requests fail. From night 100 on every latency inside the mesh is 20 % longer.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meshlab.history.alerts import Message, tell
from meshlab.history.records import RunRecord, from_result
from meshlab.history.regression import SLOWER as SLOWER_FAMILY
from meshlab.history.regression import Rule
from meshlab.history.series import regressions
from meshlab.history.store import History
from tests.examples.nights import night

NIGHTS, QUIET, SLOWER = 120, 100, 1.2
LATENCIES = {
    "path-p50{path=mesh}": (6.0, 0.03), "path-p90{path=mesh}": (8.0, 0.05), "path-p99{path=mesh}": (14.0, 0.15),
    "path-p50{path=outside}": (3.5, 0.03), "path-p90{path=outside}": (4.5, 0.05),
    "path-p99{path=outside}": (9.0, 0.15),
    "request-p50{loop=fast}": (12.5, 0.04), "request-p90{loop=fast}": (19.0, 0.08),
    "request-p99{loop=fast}": (50.0, 0.3),
}  # fmt: skip
INSIDE = [key for key in LATENCIES if "path=outside" not in key]
STEPS = {
    "check-istio": 2.5,
    "deploy-bookinfo": 7.0,
    "check-prometheus": 9.3,
    "fast-load": 20.0,
    "reconcile": 8.0,
}


def nights(seed: int) -> Iterator[RunRecord]:
    """120 runs; the last 20 are slower."""
    chance = random.Random(seed)

    def noisy(middle: float, spread: float) -> float:
        return middle * chance.lognormvariate(0, spread)

    for number in range(NIGHTS):
        machine = chance.lognormvariate(0, 0.02)
        busy = chance.uniform(1.1, 1.6) if chance.random() < 1 / 30 else 1.0
        slower = SLOWER if number >= QUIET else 1.0
        measures = {
            key: (noisy(middle, spread) * machine * busy * (slower if key in INSIDE else 1.0), "ms")
            for key, (middle, spread) in LATENCIES.items()
        }
        over = measures["path-p50{path=mesh}"][0] - measures["path-p50{path=outside}"][0]
        measures["mesh-overhead-p50"] = (over, "ms")
        failed = float(chance.randint(1, 3)) if chance.random() < 1 / 50 else 0.0
        measures["requests-sent{loop=fast}"] = (70.0, "requests")
        measures["requests-ok{loop=fast}"] = (70.0 - failed, "requests")
        measures["request-rate{loop=fast}"] = (noisy(3.1, 0.03) / busy**0.3, "requests/s")
        measures["proxy-cpu-per-1000rps"] = (noisy(0.9, 0.06) * busy, "cores")
        measures["proxy-memory"] = (noisy(55.0, 0.02), "MiB")
        result = night(number, measures, seconds=noisy(115.0, 0.04) * busy)
        result["steps"] = [
            {"name": name, "state": "done", "seconds": noisy(s, 0.06) * busy, "attempts": 1, "reason": None}
            for name, s in STEPS.items()
        ]
        yield from_result(result)


@dataclass
class Outcome:
    """false: alerts of quiet nights, by measure. found: nights until a latency was told (1 or 2), None when later."""

    false: Counter[str] = field(default_factory=Counter)
    found: int | None = None
    seconds: float = 0.0


def through_the_store(seed: int, folder: Path, rule: Rule = Rule()) -> Outcome:  # noqa: B008
    """Every night recorded in a store, judged, and told by the real alerts."""
    outcome, began = Outcome(), time.monotonic()
    with History(folder / f"nights-{seed}.sqlite") as history:
        for number, run in enumerate(nights(seed)):
            history.record(run)
            sent: list[Message] = []
            tell(history, regressions(history.runs(flow=run.flow), rule), sent.append)
            begun = [message.title.removeprefix("Incident: ") for message in sent if not message.ended]
            _count(outcome, number, begun)
    outcome.seconds = time.monotonic() - began
    return outcome


def pure(seed: int, rule: Rule = Rule()) -> Outcome:  # noqa: B008
    """The same without the store: what the rule says once all nights are known is what it said night by night."""
    outcome, runs = Outcome(), list(nights(seed))
    number_of = {run.run_id: number for number, run in enumerate(runs)}
    for incident in sorted(regressions(runs, rule), key=lambda each: number_of[each.began]):
        _count(outcome, number_of[incident.began], [incident.what])
    return outcome


def _count(outcome: Outcome, number: int, begun: Iterable[str]) -> None:
    for what in begun:
        if number < QUIET:
            outcome.false[what] += 1
        elif what == SLOWER_FAMILY and outcome.found is None and number < QUIET + 2:
            outcome.found = number - QUIET + 1


def main() -> None:
    """Print both counts, seed by seed through the store, then of many seeds without it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seeds", type=int, default=20, help="simulations through the store (20)")
    words.add_argument("--pure", type=int, default=400, help="simulations without it (400)")
    asked = words.parse_args()
    print("seed  false alerts in 100 quiet nights  +20 % found in night  s")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.seeds):
            outcome = through_the_store(seed, Path(folder))
            which = f"  {dict(outcome.false)}" if outcome.false else ""
            print(
                f"{seed:4}  {outcome.false.total():33}  {outcome.found or 'later':>20}  {outcome.seconds:.1f}{which}"
            )
    if asked.pure:
        many = [pure(1000 + seed) for seed in range(asked.pure)]
        spread = Counter(outcome.false.total() for outcome in many)
        found = sum(outcome.found is not None for outcome in many)
        told = ", ".join(f"{count}: {spread[count] / len(many):.1%}" for count in sorted(spread))
        print(f"{len(many)} simulations: found within 2 nights {found / len(many):.1%}; false alerts {told}")


if __name__ == "__main__":
    main()
