"""The audit's section: findings that count first, accepted ones with their reason, all of it escaped."""

from __future__ import annotations

from typing import Any

from meshlab.report.audit import audit_html


def check(*findings: dict[str, Any]) -> dict[str, Any]:
    evidence = {"looked": 4, "what": "containers", "findings": list(findings)}
    return {"id": "audit.limits", "verdict": "fail", "evidence": evidence}


def row(**fields: str) -> dict[str, str]:
    blank = dict.fromkeys(("accepted", "expires", "request", "answer"), "")
    base = {
        "severity": "warning",
        "resource": "Pod shop/cart",
        "why": "no limit",
        "fix": "limits:\n  memory: 1Mi\n",
    }
    return base | blank | fields


def test_a_finding_has_its_yaml_and_request():
    text = audit_html([check(row(request="GET x", answer="status 200"))])
    assert "<pre>limits:\n  memory: 1Mi\n</pre>" in text and "status 200" in text
    assert "Findings (1)" in text and "Accepted risks" not in text and "4 containers" in text


def test_accepted_risks_come_after_with_reason_and_last_day():
    text = audit_html([check(row(accepted="measured", expires="2027-01-31", resource="Pod a/b"), row())])
    assert text.index("Findings (1)") < text.index("Accepted risks (1)")
    assert "measured (until 2027-01-31)" in text


def test_what_a_cluster_says_is_escaped():
    assert "<script>" not in audit_html([check(row(why="<script>x</script>"))])


def test_a_rule_that_could_not_be_judged_is_listed():
    broken = {"id": "audit.token-mounts", "verdict": "infra-error", "evidence": {}}
    assert "token-mounts" in audit_html([broken])


def test_no_audit_no_section():
    assert audit_html([{"id": "app.bookinfo", "verdict": "pass", "evidence": {}}]) == ""
