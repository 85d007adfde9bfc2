"""What `istioctl analyze` says of the mesh's configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from meshlab.checks.base import judged
from meshlab.istio.findings import Finding, concerns
from meshlab.run.results import CheckResult

SEVERITIES = ("Error", "Warning", "Info")
FAILING = "Error"  # what istioctl itself fails for, by default


def analyze(findings: Sequence[Finding], *, namespaces: Sequence[str]) -> CheckResult:
    """Judge `istioctl analyze`: no finding of severity Error; the others are named.

    An object without a namespace, and a namespace itself, belongs to everybody's. Evidence: `by_severity`,
    table `findings` (severity, code, resource, message, judged).

    Args:
        findings: Its findings.
        namespaces: What was analysed; findings of other namespaces are counted and not judged, because the
            lab answers for its own.

    Returns:
        The check.
    """
    mine = [each for each in findings if concerns(each, namespaces)]
    counts = Counter(each.level for each in mine)
    known = {each: counts.pop(each, 0) for each in SEVERITIES}
    problems = [_told(each) for each in mine if each.level == FAILING]
    problems += [f"istioctl told of a severity that is not known here: {level}" for level in counts]
    if not namespaces:
        problems.append("no namespace was analysed, so nothing was checked")
    named = sorted({f"{each.code} {each.origin}" for each in mine if each.level == "Warning"})
    others = len(findings) - len(mine)
    summary = ", ".join(f"{count} {level.lower()}" for level, count in known.items())
    return judged(
        "istio.analyze",
        problems,
        f"{summary} in {', '.join(namespaces)}"
        + (f"; warnings: {'; '.join(named)}" if named else "")
        + (f"; {others} elsewhere" if others else ""),
        {
            "by_severity": known,
            "findings": [_row(each, each in mine) for each in sorted(findings, key=_rank)],
        },
        remedy="each finding's documentation tells what to change; `istioctl analyze` repeats it",
    )


def _told(finding: Finding) -> str:
    return f"{finding.level} {finding.code} in {finding.origin}: {finding.message}"


def _rank(finding: Finding) -> tuple[int, str, str]:
    order = SEVERITIES.index(finding.level) if finding.level in SEVERITIES else -1
    return order, finding.code, finding.origin


def _row(finding: Finding, is_judged: bool) -> Mapping[str, object]:
    return {
        "severity": finding.level,
        "code": finding.code,
        "resource": finding.origin,
        "message": finding.message,
        "documentation": finding.documentation_url,
        "judged": is_judged,
    }
