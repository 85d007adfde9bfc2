"""Whether a planted fault was caught: exactly the checks that it declared turned red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.core.text import pluralize
from meshlab.faults.fault import Fault
from meshlab.run.results import CheckResult, Verdict

RED = (Verdict.FAIL, Verdict.BROKEN)  # the mesh is wrong, or a check's own control tells that it is
NOT_MADE = "not made"
GREEN = "pass"


@dataclass(frozen=True)
class Catch:
    """One fault, what it had to and could turn red, what it did, and whether the lab is as it was."""

    fault: str
    must: tuple[str, ...]
    may: tuple[str, ...]
    red: tuple[str, ...]
    restored: bool

    @property
    def missed(self) -> tuple[str, ...]:
        """Checks that had to turn red and did not."""
        return tuple(check for check in self.must if check not in self.red)

    @property
    def extra(self) -> tuple[str, ...]:
        """Checks that turned red and should not have."""
        return tuple(check for check in self.red if check not in (*self.must, *self.may))

    def as_json(self) -> dict[str, Any]:
        """The catch as `result.json` holds it."""
        lists = {"must": list(self.must), "may": list(self.may), "red": list(self.red)}
        return {"fault": self.fault, **lists, "restored": self.restored}


def catch_of(fault: Fault, checks: Mapping[str, Mapping[str, Any]], *, restored: bool) -> Catch:
    """Say what became of a fault.

    Args:
        fault: The fault.
        checks: Id → a check of the round in which it was planted, as JSON.
        restored: The lab is as it was before.

    Returns:
        Which checks turned red, and which had to.
    """
    red = tuple(sorted(check_id for check_id, check in checks.items() if check["verdict"] in RED))
    return Catch(fault.name, fault.must, fault.may, red, restored)


def told_of_it(
    checks: Mapping[str, Mapping[str, Any]], planted: Sequence[str], untouched: Sequence[str] = ()
) -> dict[str, Mapping[str, Any]]:
    """Count a check of what is left as red only where what it found names all that was planted.

    Args:
        checks: Id → a check with a table `inventory`, as JSON.
        planted: Names of things, or `Kind name`.
        untouched: Those of them that the removal had not come to: they are no proof that the fault holds them.

    Returns:
        The checks; one that is red for something else is an infra-error, which says so.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for check_id, check in checks.items():
        rows = [row for row in check["evidence"].get("inventory", []) if row["stage"] == "after"]
        named = {each for row in rows for each in (row["name"], f"{row['kind']} {row['name']}")}
        missing = [each for each in planted if each not in named]
        if check["verdict"] in RED and (missing or not planted):
            told = f"it is red without naming {', '.join(missing) or 'anything'}: {check['summary']}"
            check = {**check, "verdict": Verdict.INFRA_ERROR, "summary": told}
        elif check["verdict"] in RED and untouched:
            told = f"the removal has not come to {', '.join(untouched)}: it is slow, or ended before"
            check = {**check, "verdict": Verdict.INFRA_ERROR, "summary": told}
        found[check_id] = check
    return found


def judge(
    fault: Fault, checks: Mapping[str, Mapping[str, Any]], left: Sequence[str], *, seconds: float
) -> CheckResult:
    """Make the fault's own check: pass when every `must` and nothing beside `must` and `may` turned red.

    A check that could not be made and is not among `may` leaves it open what it would have said, and so
    does a lab that is not as it was: infra-error. Evidence: tables `checks` (check, expected, verdict, what
    was seen) and lists of the rest.

    Args:
        fault: The fault.
        checks: As for `catch_of`.
        left: How the lab differs from before the fault.
        seconds: How long its round took.

    Returns:
        The check.
    """
    catch = catch_of(fault, checks, restored=not left)
    unmade = [
        check_id
        for check_id in fault.checks
        if check_id not in (*fault.must, *fault.may) and _verdict(checks, check_id) in _OPEN
    ]
    problems = [
        f"{check_id} did not turn red ({_verdict(checks, check_id)}: {_seen(checks, check_id)})"
        for check_id in catch.missed
    ]
    problems += [f"{check_id} turned red, too: {_seen(checks, check_id)}" for check_id in catch.extra]
    green = sum(check["verdict"] == GREEN for check in checks.values())
    told = f"{len(catch.must) - len(catch.missed)} of {len(catch.must)} checks caught it: {', '.join(catch.must)}"
    also = [check for check in catch.red if check in catch.may]
    told += f"; red with it: {', '.join(also)}" if also else ""
    told += (
        "" if fault.last else f"; {pluralize(green, 'checks')} stayed green"
    )  # a lab that goes has no others
    evidence = {
        "checks": _table(fault, checks),
        "missed": list(catch.missed),
        "extra": list(catch.extra),
        "not_made": unmade,
        "not_restored": list(left),
    }
    verdict, reason, remedy = Verdict.PASS, "", ""
    if problems:
        verdict, reason = Verdict.FAIL, "; ".join(problems)
        remedy = f"mend the check that is blind, or the declaration of fault {fault.name} in meshlab/faults"
    elif left:
        verdict, reason = Verdict.INFRA_ERROR, f"the lab is not as it was: {'; '.join(left)}"
        remedy = "remove the lab (make down) and run again"
    elif unmade:
        verdict, reason = Verdict.INFRA_ERROR, f"could not be made: {', '.join(unmade)}"
        remedy = "the round's own journal in the evidence folder tells why"
    return CheckResult(
        id=fault.check_id,
        title=fault.title,
        verdict=verdict,
        summary=told if verdict is Verdict.PASS else reason.split("; ")[0],
        scope=fault.scope,
        seconds=seconds,
        evidence=evidence,
        reason=reason or None,
        remedy=remedy or None,
    )


def unproven(fault: Fault, reason: str, *, remedy: str = "", skipped: bool = False) -> CheckResult:
    """Make the check of a fault that was not planted, or of which nothing can be said.

    Args:
        fault: The fault.
        reason: Why.
        remedy: What to do.
        skipped: This cluster or the write scope does not allow it.

    Returns:
        The check.
    """
    return CheckResult(
        id=fault.check_id,
        title=fault.title,
        verdict=Verdict.SKIPPED if skipped else Verdict.INFRA_ERROR,
        summary=f"{'skipped' if skipped else 'not proven'}: {reason}",
        scope=fault.scope,
        reason=reason,
        remedy=remedy or None,
        asked_for=skipped,
    )


def control(
    name: str,
    title: str,
    groups: Sequence[str],
    checks: Mapping[str, Mapping[str, Any]],
    expected: Sequence[str],
    *,
    seconds: float,
) -> CheckResult:
    """Judge a round without a fault: everything that the faults could turn red must be green, else nothing is proven.

    Args:
        name: Of the round, the check is sabotage.NAME.
        title: What the check says.
        groups: The groups of checks that it made.
        checks: Id → a check of the round, as JSON.
        expected: Ids that the round must have made.
        seconds: How long the round took.

    Returns:
        The check.
    """
    bad = [
        f"{check_id} is {_verdict(checks, check_id)}: {_seen(checks, check_id)}"
        for check_id in sorted(expected, key=lambda each: _verdict(checks, each) != Verdict.FAIL)
        if _verdict(checks, check_id) not in (GREEN, Verdict.SKIPPED)
    ]
    green = sum(check["verdict"] == GREEN for check in checks.values())
    if not green and not bad:
        bad = ["no check was made"]
    reason = "; ".join(bad)
    return CheckResult(
        id=f"sabotage.{name}",
        title=title,
        verdict=Verdict.INFRA_ERROR if bad else Verdict.PASS,
        summary=f"not green without a fault: {pluralize(len(bad), 'checks')}: {bad[0]}"
        if bad
        else f"green without a fault: {pluralize(green, 'checks')} of {', '.join(groups)}",
        seconds=seconds,
        evidence={"checks": [_row(checks, check_id, "green") for check_id in expected]},
        reason=reason or None,
        remedy="mend the lab first: `make lab` runs the same checks" if bad else None,
    )


def crashed(check_id: str, title: str, scope: str, problem: Exception) -> CheckResult:
    """Make the check of a round that an exception ended: nothing is proven, and the cause is told.

    Args:
        check_id: Its id.
        title: What it says.
        scope: The write scope that it needs.
        problem: The exception.

    Returns:
        The check.
    """
    reason = getattr(problem, "message", "") or f"{type(problem).__name__}: {problem}"
    return CheckResult(
        id=check_id,
        title=title,
        verdict=Verdict.INFRA_ERROR,
        summary=f"the step crashed: {reason}",
        scope=scope,
        reason=reason,
        remedy=getattr(problem, "remedy", "")
        or "evidence/failure.txt has the traceback: mend it and run again",
    )


_OPEN = (NOT_MADE, Verdict.INFRA_ERROR)


def _verdict(checks: Mapping[str, Mapping[str, Any]], check_id: str) -> str:
    return str(checks[check_id]["verdict"]) if check_id in checks else NOT_MADE


def _seen(checks: Mapping[str, Mapping[str, Any]], check_id: str) -> str:
    return str(checks[check_id]["summary"]) if check_id in checks else "the round ended before it"


def _table(fault: Fault, checks: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    def expected(check_id: str) -> str:
        return "red" if check_id in fault.must else "may be red" if check_id in fault.may else "green"

    ids = dict.fromkeys((*fault.must, *fault.may, *fault.checks, *checks))
    return [_row(checks, check_id, expected(check_id)) for check_id in ids]


def _row(checks: Mapping[str, Mapping[str, Any]], check_id: str, expected: str) -> dict[str, Any]:
    return {
        "check": check_id,
        "expected": expected,
        "verdict": _verdict(checks, check_id),
        "what was seen": _seen(checks, check_id),
    }
