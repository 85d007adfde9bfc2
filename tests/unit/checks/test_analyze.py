"""istio.analyze: an error of ours fails, everything else is named."""

from __future__ import annotations

import pytest

from meshlab.checks.analyze import analyze
from meshlab.istio.findings import Finding, concerns
from meshlab.run.results import Verdict

NAMESPACES = ("istio-system", "default")
FILTER = Finding("IST0133", "Warning", "EnvoyFilter istio-system/standard-metrics", "internals", "docs")
PORT = Finding("IST0118", "Info", "Service istio-system/jaeger-collector", "port name")
HOST = Finding("IST0101", "Error", "VirtualService default/page", "host not found")


def test_no_finding():
    result = analyze([], namespaces=NAMESPACES)
    assert result.verdict is Verdict.PASS
    assert result.summary == "0 error, 0 warning, 0 info in istio-system, default"


def test_warnings_and_infos_are_named():
    result = analyze([PORT, FILTER], namespaces=NAMESPACES)
    assert result.verdict is Verdict.PASS
    assert result.summary == (
        "0 error, 1 warning, 1 info in istio-system, default; "
        "warnings: IST0133 EnvoyFilter istio-system/standard-metrics"
    )
    assert [row["code"] for row in result.evidence["findings"]] == ["IST0133", "IST0118"]
    assert result.evidence["findings"][0] == {
        "severity": "Warning",
        "code": "IST0133",
        "resource": "EnvoyFilter istio-system/standard-metrics",
        "message": "internals",
        "documentation": "docs",
        "judged": True,
    }


def test_an_error_fails():
    result = analyze([FILTER, HOST], namespaces=NAMESPACES)
    assert result.verdict is Verdict.FAIL
    assert "IST0101" in str(result.reason) and "default/page" in str(result.reason)
    assert result.evidence["findings"][0]["severity"] == "Error"


def test_errors_elsewhere_are_counted_and_not_judged():
    result = analyze([HOST], namespaces=["istio-system"])
    assert result.verdict is Verdict.PASS and result.summary.endswith("; 1 elsewhere")
    assert result.evidence["findings"][0]["judged"] is False


def test_a_severity_of_another_istio():
    result = analyze([Finding("IST1", "Fatal", "Mesh x", "m")], namespaces=NAMESPACES)
    assert result.verdict is Verdict.FAIL and "Fatal" in str(result.reason)
    assert analyze([], namespaces=()).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("origin", "ours"),
    [
        ("Namespace default", True),
        ("Namespace other", False),
        ("Pod default/x", True),
        ("Pod other/x", False),
        ("MutatingWebhookConfiguration istio-sidecar-injector", True),
        ("", True),
    ],
)
def test_whose_finding_it_is(origin: str, ours: bool):
    assert concerns(Finding("IST0102", "Info", origin, ""), NAMESPACES) is ours
