"""Whether a measure got worse: a night against the median of the nights before it, in units of their spread.

Pure: values in, incidents out. What was told about them, and to whom, is `alerts`' business. The spread is the
median absolute deviation (MAD), times 1.4826 the standard deviation of normal noise; neither it nor the median
is moved by a few odd nights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

Direction = Literal["up", "down"]  # which way is bad
NORMAL = 1.4826  # standard deviations of normal noise in one MAD


@dataclass(frozen=True)
class Judged:
    """How a measure is judged.

    bad: which way. share: the smallest relative change that matters, more where a measure scatters by nature.
    least: the smallest change that matters in the measure's own unit. family: measures of one family that get
    worse together are one incident.
    """

    bad: Direction
    share: float
    least: float
    family: str


SLOWER, LONGER, ERRORS, RESOURCES = "slower", "longer", "errors", "resources"
# Measures that are judged, by name. Everything else is kept and drawn only: how many requests were sent says
# nothing about the mesh, the p99 of 70 requests is one request, and success is what errors leave. How long a step
# took is no family of latency's: a slow step must not hide a slow mesh.
JUDGED: Mapping[str, Judged] = {
    "path-p50": Judged("up", 0.10, 0.5, SLOWER),
    "path-p90": Judged("up", 0.15, 1.0, SLOWER),
    "path-p99": Judged("up", 0.40, 5.0, SLOWER),
    "mesh-overhead-p50": Judged("up", 0.15, 0.5, SLOWER),
    "request-p50": Judged("up", 0.20, 1.0, SLOWER),
    "request-rate": Judged("down", 0.25, 0.1, SLOWER),
    "run-seconds": Judged("up", 0.20, 15.0, LONGER),
    "step-seconds": Judged("up", 0.30, 5.0, LONGER),
    "error-rate": Judged("up", 0.0, 1.0, ERRORS),
    "path-error-rate": Judged("up", 0.0, 1.0, ERRORS),
    "success-rate": Judged("down", 0.0, 1.0, ERRORS),
    "proxy-cpu-per-1000rps": Judged("up", 0.25, 0.1, RESOURCES),
    "proxy-memory": Judged("up", 0.10, 4.0, RESOURCES),
}


@dataclass(frozen=True)
class Rule:
    """The numbers of the rule.

    window: nights that make the baseline. least: how many there must be. nights: how many bad ones in a row
    begin an incident, and how many good ones end it. spreads: standard deviations away.

    `python -m tests.bench.nights` chose the numbers: it prints what they find, and their false alarms.
    """

    window: int = 14
    least: int = 7
    nights: int = 2
    spreads: float = 3.0


@dataclass(frozen=True)
class Night:
    """One value of a series. run_id, at: the run and its begin (RFC 3339)."""

    run_id: str
    at: str
    value: float


@dataclass(frozen=True)
class Baseline:
    """What nights before gave. limit: beyond it, in the bad direction, a night is bad."""

    middle: float
    spread: float
    limit: float
    bad: Direction
    nights: int

    @property
    def side(self) -> str:
        """Where a bad value is, seen from the limit."""
        return "above" if self.bad == "up" else "below"

    def exceeded(self, value: float) -> bool:
        """Whether the value is beyond the limit."""
        return value > self.limit if self.bad == "up" else value < self.limit


@dataclass(frozen=True)
class Degradation:
    """A series that got worse. first: the first bad night; noticed: the night that made it certain.

    ended: the night that ended it, None while it goes on. renewed: it ended because the new level has lasted
    for a whole window, not because the old one came back.
    """

    baseline: Baseline
    first: Night
    noticed: Night
    ended: Night | None = None
    renewed: bool = False


def baseline(values: Sequence[float], how: Judged, rule: Rule = Rule()) -> Baseline | None:
    """Compute the baseline of the last `rule.window` values.

    Args:
        values: In order of time.
        how: What is bad for them.
        rule: The rule's numbers.

    Returns:
        It; None where there are fewer than `rule.least` values.
    """
    recent = values[-rule.window :]
    if len(recent) < rule.least:
        return None
    middle = median(recent)
    spread = NORMAL * median(abs(value - middle) for value in recent)
    change = max(rule.spreads * spread, how.share * abs(middle), how.least)
    return Baseline(
        middle, spread, middle + change if how.bad == "up" else middle - change, how.bad, len(recent)
    )


@dataclass(frozen=True)
class Judgement:
    """One night under the rule. base: what it was held against, None with too little history. bad: beyond its limit."""

    night: Night
    base: Baseline | None
    bad: bool


def degradations(nights: Sequence[Night], how: Judged, rule: Rule = Rule()) -> list[Degradation]:
    """Every incident of a series, oldest first; only the last can be without an end.

    nights: in order of time, those without a value left out.
    """
    return _course(nights, how, rule)[1]


def judge(nights: Sequence[Night], how: Judged, rule: Rule = Rule()) -> list[Judgement]:
    """Judge every night of a series by the rule.

    Args:
        nights: In order of time.
        how: What is bad for them.
        rule: The rule's numbers.

    Returns:
        One judgement a night, in the same order.
    """
    return _course(nights, how, rule)[0]


def _course(nights: Sequence[Night], how: Judged, rule: Rule) -> tuple[list[Judgement], list[Degradation]]:
    """The nights of an incident never become part of a baseline, unless the new level stays for a whole window."""
    found: list[Degradation] = []
    judged: list[Judgement] = []
    calm: list[float] = []  # what baselines are made of
    row: list[Night] = []  # bad nights that may become an incident, or good ones that may end one
    during: list[Night] = []  # nights of the open incident
    current: Degradation | None = None
    base: Baseline | None = None
    for night in nights:
        if current is None and not row:
            base = baseline(calm, how, rule)  # stays as it is while bad nights follow one another
        bad = base is not None and base.exceeded(night.value)
        judged.append(Judgement(night, base, bad))
        if current is None:
            if base is None or not bad:
                calm += [*(bad_one.value for bad_one in row), night.value]
                row = []
                continue
            row.append(night)
            if len(row) == rule.nights:
                current = Degradation(base, row[0], night)
                during, row = row, []
            continue
        during.append(night)
        row = [] if bad else [*row, night]
        if len(row) == rule.nights:
            found.append(replace(current, ended=night))
            calm += [good.value for good in row]
            current, row = None, []
        elif len(during) >= rule.window and not row:
            found.append(replace(current, ended=night, renewed=True))
            calm = [each.value for each in during]
            current = None
    return judged, [*found, current] if current is not None else found
