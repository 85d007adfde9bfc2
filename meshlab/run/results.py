"""The values of `result.json`: steps, checks, measures, and the verdict and exit code that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

NOT_MADE = "not made"  # summary of a check that a failed step took along
Table = list[dict[str, Any]]  # rows of a table in the evidence: flat records that all have the same keys


class Verdict(StrEnum):
    """What became of a check."""

    PASS = "pass"  # evidence was seen
    FAIL = "fail"  # the mesh is wrong
    SKIPPED = "skipped"  # not made, with the reason
    BROKEN = "broken"  # its own positive control did not trip
    INFRA_ERROR = "infra-error"  # it could not be made


SCOPES = ("observe", "namespace", "mesh")


# What to do where neither the check nor the error behind it knows better: it is never left unsaid.
USUAL_REMEDIES = {
    Verdict.FAIL: "the evidence has what was seen: mend what the reason names and run again",
    Verdict.BROKEN: "find out why the control did not trip before this check is believed",
    Verdict.INFRA_ERROR: "mend what the reason names and run again; the step's log and the evidence folder tell more",
}


@dataclass(frozen=True)
class CheckResult:
    """One check's answer.

    Attributes:
        id: Its id in the catalogue.
        title: What it proves, in a sentence.
        verdict: What became of it.
        summary: One line with numbers.
        scope: The write scope that it needs.
        seconds: How long it took.
        evidence: Numbers, series and tables that support it, as JSON can hold them.
        reason: Why it was skipped, broken, or could not be made.
        remedy: What to do next where it is not a pass; `as_json` has the usual one where none was given.
        asked_for: A skip that the user asked for (--keep), or that the write scope implies.
    """

    id: str
    title: str
    verdict: Verdict
    summary: str
    scope: str = "observe"
    seconds: float = 0.0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    remedy: str | None = None
    asked_for: bool = False

    def as_json(self) -> dict[str, Any]:
        """The check as `result.json` holds it."""
        record = asdict(self)
        del record["asked_for"]
        if self.verdict is not Verdict.PASS and not self.reason:
            record["reason"] = self.summary
        record["remedy"] = self.remedy or USUAL_REMEDIES.get(self.verdict)
        return {
            **record,
            "verdict": str(self.verdict),
            "seconds": round(self.seconds, 3),
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True)
class StepRecord:
    """One step of a run.

    state: done, skipped or failed. seconds: wall time. attempts: 1 when it went at once.
    """

    name: str
    state: str
    seconds: float
    attempts: int = 1
    reason: str | None = None


@dataclass(frozen=True)
class Measure:
    """One number worth keeping over nights."""

    name: str
    value: float
    unit: str
    labels: Mapping[str, str] = field(default_factory=dict)


def settle_skips(checks: Iterable[CheckResult], optional: Iterable[str]) -> list[CheckResult]:
    """Turn every involuntary skip of a check that is not optional into an infra-error, its reason kept."""
    allowed = set(optional)
    settled = []
    for check in checks:
        if check.verdict is Verdict.SKIPPED and not check.asked_for and check.id not in allowed:
            check = replace(check, verdict=Verdict.INFRA_ERROR)
        settled.append(check)
    return settled


def exit_code(checks: Iterable[CheckResult], steps: Iterable[StepRecord], signum: int | None = None) -> int:
    """Give the exit code of a run.

    130 or 143 after a signal, else the first that holds of 1 (fail), 4 (broken), 3 (could not be made), 0. A fail
    leads because it has seen evidence: a fault of the mesh may take the controls of other checks with it.

    Args:
        checks: Its checks.
        steps: Its steps.
        signum: The signal that ended the run, if one did.

    Returns:
        The exit code.
    """
    if signum is not None:
        return 128 + signum
    verdicts = [check.verdict for check in checks]
    if Verdict.FAIL in verdicts:
        return 1
    if Verdict.BROKEN in verdicts:
        return 4
    made = [v for v in verdicts if v is not Verdict.SKIPPED]
    if Verdict.INFRA_ERROR in verdicts or any(step.state == "failed" for step in steps) or not made:
        return 3
    return 0


def verdict_of(code: int) -> str:
    """`result.json`'s verdict for an exit code: pass = 0, fail = 1, everything else is error."""
    return {0: "pass", 1: "fail"}.get(code, "error")
