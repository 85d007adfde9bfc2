"""audit.*: what makes a rule's check fail, and what its evidence tells."""

from __future__ import annotations

from datetime import date

from meshlab.checks.audit import audit
from meshlab.run.results import CheckResult, Verdict
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.model import Acceptance, Examined, Finding, Proof, Rule, Severity

RISK = Acceptance("limits", "*", "measured", date(2027, 1, 31))


def found(severity: Severity = Severity.WARNING, **more: object) -> Finding:
    return Finding("limits", severity, "Deployment shop/cart", "has no limit", "limits: {}\n", **more)  # type: ignore[arg-type]


def check(
    *findings: Finding, looked: int = 4, unreadable: dict[str, str] | None = None, note: str = ""
) -> CheckResult:
    examined = Examined(looked, "containers", findings, (note,) if note else ())
    rule = Rule("limits", lambda _: examined, ("Pod",))
    return audit(rule, Inventory(unreadable=unreadable or {}), examined, findings)


def test_no_finding():
    result = check()
    assert result.verdict is Verdict.PASS and result.summary == "4 containers: no finding"


def test_nothing_to_look_at_is_said():
    result = check(looked=0)
    assert result.evidence["looked"] == 0 and "0 containers" in result.summary


def test_a_finding_fails_with_its_request():
    result = check(found(proof=Proof("GET x", "status 200", True)))
    assert result.verdict is Verdict.FAIL
    assert "Deployment shop/cart" in result.summary and "200" in result.summary
    assert result.evidence["findings"] == [
        {
            "severity": "warning", "resource": "Deployment shop/cart", "why": "has no limit", "fix": "limits: {}\n",
            "accepted": "", "expires": "", "request": "GET x", "answer": "status 200",
        }
    ]  # fmt: skip


def test_an_info_does_not_fail():
    result = check(found(Severity.INFO))
    assert result.verdict is Verdict.PASS
    assert result.evidence["looked"] == 4 and len(result.evidence["findings"]) == 1
    assert "1 finding" in result.summary


def test_an_accepted_finding_passes_and_is_told():
    result = check(found(accepted=RISK))
    assert result.verdict is Verdict.PASS and "1 accepted" in result.summary
    assert result.evidence["findings"][0]["accepted"] == "measured"
    assert result.evidence["findings"][0]["expires"] == "2027-01-31"


def test_an_expired_acceptance_is_named():
    result = check(found(expired=RISK, proof=Proof("GET x", "status 403", False)))
    assert result.verdict is Verdict.FAIL and "2027-01-31" in result.summary
    assert result.evidence["findings"][0]["answer"] == "status 403 (does not show it)"
    assert "Deployment shop/cart" in result.evidence["observed"]


def test_what_could_not_be_read_is_no_pass():
    result = check(unreadable={"Pod": "forbidden"})
    assert result.verdict is Verdict.INFRA_ERROR and result.reason == "Pod: forbidden"


def test_a_warning_about_the_data_is_in_the_summary():
    assert check(note="WARNING: old").summary.endswith("; WARNING: old")
