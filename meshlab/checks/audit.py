"""audit.*: what a rule of the audit found, as a check. Fails for a finding of severity warning or above that nobody accepted."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.checks.base import infra_error, judged, skipped
from meshlab.core.errors import SecretsWithheldError
from meshlab.core.text import pluralize
from meshlab.run.results import CheckResult, Table
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.model import Examined, Finding, Rule

REMEDY = "each finding has the YAML that mends it; a risk that stays goes into audit.accepted, with a reason and a last day"


def audit(rule: Rule, inventory: Inventory, examined: Examined, findings: Sequence[Finding]) -> CheckResult:
    """Make the check of an audit's rule.

    Evidence: `looked` (objects), `what` (their kinds), `notes`, table `findings` (severity, resource, why,
    fix, accepted, expires, request, answer). infra-error where a kind that the rule needs could not be
    read, skipped where the account is not meant to read it.

    Args:
        rule: The rule.
        inventory: What was looked at.
        examined: What the rule found in it.
        findings: Those of `examined`, judged (accepted or not) and shown by requests.

    Returns:
        The check.
    """
    if kept := [inventory.withheld[kind] for kind in rule.needs if kind in inventory.withheld]:
        return skipped(rule.check, "; ".join(kept), asked_for=True, remedy=SecretsWithheldError.usual_remedy)
    missing = [f"{kind}: {inventory.unreadable[kind]}" for kind in rule.needs if kind in inventory.unreadable]
    if missing:
        return infra_error(
            rule.check,
            "; ".join(missing),
            remedy="grant get and list on these kinds, or audit as somebody who has them; istioctl says more by hand",
        )
    expired = [each for each in findings if each.expired]
    looked = f"{'' if examined.looked else 'nothing to look at: '}{pluralize(examined.looked, examined.what)}"
    parts = [f"{looked}: {_counts(findings)}"]
    if expired:
        parts.append(
            f"acceptance expired: {', '.join(f'{e.resource} on {e.expired.expires}' for e in expired if e.expired)}"
        )
    parts += [note for note in examined.notes if note.startswith("WARNING")]
    return judged(
        rule.check,
        [_told(each) for each in findings if each.counts],
        "; ".join(parts),
        {
            "looked": examined.looked,
            "what": examined.what,
            "notes": list(examined.notes),
            "findings": rows(findings),
        },
        remedy=REMEDY,
    )


def _counts(findings: Sequence[Finding]) -> str:
    """How many there are, and why those that fail nothing don't: a pass must not hide them."""
    if not findings:
        return "no finding"
    accepted = sum(each.accepted is not None for each in findings)
    told = sum(each.accepted is None and not each.severity.fails for each in findings)
    why = [f"{accepted} accepted as known risks"] if accepted else []
    why += [f"{told} for information only"] if told else []
    found = pluralize(len(findings), "findings")
    return f"{found} ({', '.join(why)})" if why else found


def rows(findings: Sequence[Finding]) -> Table:
    """Findings as records, the worst first, those that are accepted last."""
    order = ("error", "warning", "info")
    return [
        {
            "severity": str(each.severity),
            "resource": each.resource,
            "why": each.why,
            "fix": each.fix,
            "accepted": each.accepted.reason if each.accepted else "",
            "expires": _day(each),
            "request": each.proof.request if each.proof else "",
            "answer": _answer(each),
        }
        for each in sorted(findings, key=lambda f: (bool(f.accepted), order.index(f.severity), f.resource))
    ]


def _day(finding: Finding) -> str:
    if finding.accepted and finding.accepted.expires:
        return str(finding.accepted.expires)
    return f"expired on {finding.expired.expires}" if finding.expired else ""


def _answer(finding: Finding) -> str:
    if finding.proof is None:
        return ""
    return finding.proof.answer + ("" if finding.proof.shows else " (does not show it)")


def _told(finding: Finding) -> str:
    shown = f" [{finding.proof}]" if finding.proof and finding.proof.shows else ""
    late = f" (its acceptance expired on {finding.expired.expires})" if finding.expired else ""
    return f"{finding.severity} {finding.resource}: {finding.why}{late}{shown}"
