"""The truth table: what every request should meet, what it met, and where the two differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from meshlab.security.authorization.cases import Case
from meshlab.security.authorization.model import Decision, Mesh, Outcome, Workload
from meshlab.security.authorization.observe import Kind, Observation
from meshlab.security.authorization.transport import applies

REFUSALS: Mapping[Outcome, Kind] = {
    Outcome.DENY: Kind.RBAC,
    Outcome.UNAUTHENTICATED: Kind.TOKEN,
    Outcome.FORBIDDEN_TOKEN: Kind.AUDIENCE,
    Outcome.REFUSED: Kind.RESET,
    Outcome.UNREACHABLE: Kind.UNAVAILABLE,
}
IN_A_ROW = 3  # times that a refusal must hold


@dataclass(frozen=True)
class Row:
    """One cell.

    before, control: what was expected and observed without the policies of ours. decision: by the policies in
    the cluster. observed: once for what is allowed, three times for what is refused. meant: by the policies
    of ours alone; None where nobody has said what is meant.
    """

    case: Case
    before: Decision
    control: Observation
    decision: Decision
    observed: tuple[Observation, ...]
    meant: Decision | None = None

    @property
    def wanted(self) -> str:
        """What is to be observed. An allowed request gets what it got before."""
        decision = self.meant if self.changed and self.meant else self.decision
        if decision.outcome is Outcome.ALLOW:
            return self.control.text if self.control.reached else "an answer"
        return str(REFUSALS.get(decision.outcome, decision.outcome))

    @property
    def seen(self) -> str:
        """What was observed; every kind of answer, where they differ."""
        return ", then ".join(dict.fromkeys(one.text for one in self.observed))

    @property
    def agrees(self) -> bool | None:
        """Whether every observation is as expected and meant; None where nothing can be expected."""
        if self.changed:
            return False
        if self.decision.outcome is Outcome.UNKNOWN:
            return None
        if self.decision.outcome is not Outcome.ALLOW:
            return all(one.kind is REFUSALS[self.decision.outcome] for one in self.observed)
        if not self.control.reached:
            return all(one.reached for one in self.observed)
        return all(one.reached and one.status == self.control.status for one in self.observed)

    @property
    def changed(self) -> bool:
        """Whether the policies in the cluster say something else than what is meant."""
        known = self.decision.outcome is not Outcome.UNKNOWN
        return known and self.meant is not None and self.meant.outcome is not self.decision.outcome

    @property
    def decided_by(self) -> str:
        """The policy that decided, its rule, and why."""
        return by(self.decision)

    @property
    def difference(self) -> str:
        """The finding, in one line."""
        if self.changed and self.meant:
            return (
                f"{self.case}: meant {self.wanted} ({by(self.meant)}), "
                f"the policies in the cluster say {self.decision.outcome} ({self.decided_by}), observed {self.seen}"
            )
        return f"{self.case}: expected {self.wanted} ({self.decided_by}), observed {self.seen}"

    def as_json(self) -> dict[str, Any]:
        """The cell with both answers, as evidence keeps it."""
        return {
            **asdict(self.case),
            "expected": self.wanted,
            "outcome": str(self.decision.outcome),
            "decided_by": self.decided_by,
            "meant": str(self.meant.outcome) if self.meant else None,
            "matched": [f"{name} rule {index}" for name, index in self.decision.matched],
            "observed": [one.text for one in self.observed],
            "control": {"expected": str(self.before.outcome), "observed": self.control.text},
            "agrees": self.agrees,
        }


@dataclass(frozen=True)
class TruthTable:
    """All cells. rules: every rule of the policies in force (policy, index) → cells that it matched."""

    rows: tuple[Row, ...]
    rules: Mapping[tuple[str, int], int]

    @property
    def differences(self) -> tuple[Row, ...]:
        """Cells where the observation is not the expected one."""
        return tuple(row for row in self.rows if row.agrees is False)

    @property
    def unknown(self) -> tuple[Row, ...]:
        """Cells for which nothing can be expected."""
        return tuple(row for row in self.rows if row.agrees is None)

    @property
    def untouched(self) -> tuple[str, ...]:
        """Rules that no request of the table met."""
        return tuple(f"{name} rule {index}" for (name, index), cells in self.rules.items() if not cells)

    @property
    def outcomes(self) -> dict[str, int]:
        """Expected outcome → cells."""
        return dict(Counter(str(row.decision.outcome) for row in self.rows))

    @property
    def sent(self) -> int:
        """Requests behind the table, those of the control aside."""
        return sum(len(row.observed) for row in self.rows)

    @property
    def untripped(self) -> tuple[Row, ...]:
        """Cells whose control failed.

        The policies of ours refuse them, nothing refused them before, and yet they were not answered.
        """
        return tuple(
            row for row in self.refused if row.before.outcome is Outcome.ALLOW and not row.control.reached
        )

    @property
    def refused(self) -> tuple[Row, ...]:
        """Cells that the policies or tokens refuse (not mutual TLS)."""
        return tuple(
            row
            for row in self.rows
            if row.decision.outcome
            not in (Outcome.ALLOW, Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.UNKNOWN)
        )


def by(decision: Decision) -> str:
    """Who decided, and why."""
    rule = "" if decision.rule is None else f" rule {decision.rule}"
    return f"{decision.policy}{rule}: {decision.why}" if decision.policy else decision.why


def coverage(
    mesh: Mesh, workloads: Sequence[Workload], decisions: Sequence[Decision]
) -> dict[tuple[str, int], int]:
    """Each rule of the policies that are for one of the workloads → how many decisions it matched."""
    counted = Counter(rule for decision in decisions for rule in decision.matched)
    return {
        (policy.title, index): counted[policy.title, index]
        for policy in mesh.policies
        if not policy.dry_run
        and any(applies(policy.target, one, mesh.root_namespace) is not False for one in workloads)
        for index in range(len(policy.rules))
    }
