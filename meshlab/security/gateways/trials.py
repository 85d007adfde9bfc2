"""Requests whose answers are expected: asked in turn, so that each refusal stands beside a request that passed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from meshlab.run.results import Table

ROUNDS = 3  # a negative claim holds so many times in a row


@dataclass(frozen=True)
class Answer:
    """One answer in words, and whether it is the expected one."""

    text: str
    expected: bool


@dataclass(frozen=True)
class Trial:
    """A request that can be made. request: what is asked, as a reader would repeat it, without secrets.

    control: for a request that must be refused, the name of the trial that shows that it could pass.
    """

    name: str
    request: str
    expected: str
    ask: Callable[[], Answer]
    control: str = ""


@dataclass(frozen=True)
class Tried:
    """A trial's answers, in the order in which they came."""

    name: str
    request: str
    expected: str
    answers: tuple[Answer, ...]
    control: str = ""

    @property
    def as_expected(self) -> int:
        """How many answers are the expected one."""
        return sum(answer.expected for answer in self.answers)

    @property
    def holds(self) -> bool:
        """Whether it was asked at all and every answer is the expected one."""
        return bool(self.answers) and self.as_expected == len(self.answers)

    @property
    def problem(self) -> str:
        """What is wrong, empty where nothing is."""
        if self.holds:
            return ""
        odd = next((answer.text for answer in self.answers if not answer.expected), "nothing was asked")
        return f"{self.name}: expected {self.expected}, got {odd} ({self.as_expected} of {len(self.answers)})"


def in_turn(trials: Sequence[Trial], rounds: int = ROUNDS) -> tuple[Tried, ...]:
    """Ask every trial once per round, in order. What raises is no answer and passes through.

    Args:
        trials: The requests.
        rounds: How often each is made.

    Returns:
        The answers, in the order of the trials.
    """
    answers: dict[str, list[Answer]] = {trial.name: [] for trial in trials}
    for _ in range(rounds):
        for trial in trials:
            answers[trial.name].append(trial.ask())
    return tuple(
        Tried(each.name, each.request, each.expected, tuple(answers[each.name]), each.control)
        for each in trials
    )


def rows(tried: Iterable[Tried]) -> Table:
    """The evidence: every request with what was expected, what came, how often, and its control."""
    return [
        {
            "case": each.name,
            "request": each.request,
            "expected": each.expected,
            "answers": _told(each.answers),
            "as expected": f"{each.as_expected} of {len(each.answers)}",
            "control": each.control,
        }
        for each in tried
    ]


def problems(tried: Iterable[Tried]) -> list[str]:
    """What is wrong with each, those that hold left out."""
    return [each.problem for each in tried if not each.holds]


def _told(answers: Sequence[Answer]) -> str:
    kinds = dict.fromkeys(answer.text for answer in answers)
    counts = [(kind, sum(answer.text == kind for answer in answers)) for kind in kinds]
    return "; ".join(f"{kind} ({count}×)" if count > 1 else kind for kind, count in counts)
