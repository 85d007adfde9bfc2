"""The audit's values: rules, findings, the request that shows one, and risks that somebody accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.objects import Object


class Severity(StrEnum):
    """How bad a finding is. A check fails for `warning` and above."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def fails(self) -> bool:
        """Whether a finding of it, not accepted, fails the rule's check."""
        return self is not Severity.INFO


@dataclass(frozen=True)
class Proof:
    """A request that was made for a finding.

    request: what was asked, and from where. answer: what came back. shows: whether the answer shows what the
    finding says (False: it does not, or the request could not be made).
    """

    request: str
    answer: str
    shows: bool

    def __str__(self) -> str:
        return f"{self.request} → {self.answer}" + ("" if self.shows else " (does not show it)")


@dataclass(frozen=True)
class Acceptance:
    """A risk that somebody took. resource: pattern as of `fnmatch`, over `Kind namespace/name`.

    expires: the last day on which it counts; None for those of this project, which end with the object.
    """

    rule: str
    resource: str
    reason: str
    expires: date | None = None


@dataclass(frozen=True)
class Finding:
    """One departure from a best practice. resource: `Kind namespace/name`. fix: YAML text that mends it.

    about: what a proof needs to know (namespace, pod, container, port, path, …). accepted: the acceptance that
    covers it. expired: the acceptance that did so until its last day.
    """

    rule: str
    severity: Severity
    resource: str
    why: str
    fix: str
    about: Mapping[str, str] = field(default_factory=dict)
    proof: Proof | None = None
    accepted: Acceptance | None = None
    expired: Acceptance | None = None

    @property
    def counts(self) -> bool:
        """Whether it fails its check."""
        return self.severity.fails and self.accepted is None


@dataclass(frozen=True)
class Examined:
    """What a rule found. looked: how many objects it looked at; what: their kinds in words.

    notes: what the reader should know beside the findings.
    """

    looked: int
    what: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One best practice. id: also the check's, after `audit.`. needs: kinds without which it can't be judged."""

    id: str
    examine: Callable[[Inventory], Examined]
    needs: tuple[str, ...] = ()

    @property
    def check(self) -> str:
        """Id of its check."""
        return f"audit.{self.id}"


def named(kind: str, document: Object) -> str:
    """Name an object `Kind namespace/name`, as findings and `istioctl analyze` do.

    Args:
        kind: Its kind.
        document: The object.

    Returns:
        The name.
    """
    meta = document["metadata"]
    return f"{kind} {meta['namespace']}/{meta['name']}" if meta.get("namespace") else f"{kind} {meta['name']}"
