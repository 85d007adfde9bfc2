"""The section shows run and control side by side, and says where only refusal was proved."""

from __future__ import annotations

from meshlab.checks import mtls
from meshlab.checks.base import skipped
from meshlab.report.mtls import mtls_body
from tests.unit.security.mtls import fixtures as made


def refusal():
    permissive = made.plain("200", 0, heard=3, handed=3)
    return mtls.refusal(permissive, made.plain("000", 56, heard=0, handed=0), ())


def test_the_evidence_of_run_and_control_is_shown() -> None:
    page = mtls_body([refusal().as_json(), mtls.packets(made.edges(), made.window()).as_json()])
    for text in (
        "3 × 200",
        "3 × reset",
        "control: a pair without mTLS",
        "bytes on the wire (eth0)",
        "check-mtls.packets",
    ):
        assert text in page


def test_a_cluster_without_captures_is_told_and_no_checks_are_no_section() -> None:
    page = mtls_body([refusal().as_json(), skipped("mtls.packets", "refusal only: no NET_RAW").as_json()])
    assert "refusal only: no NET_RAW" in page
    assert mtls_body([skipped("mtls.packets", "refusal only").as_json()]) == ""
