"""authz.truth-table's verdicts."""

from __future__ import annotations

from meshlab.checks.authz import truth_table
from meshlab.run.results import Verdict
from tests.examples.truth_tables import ALLOWED, CUT, DENIED, GOOD, OK, RBAC, UNSURE, row, table


def test_all_agree() -> None:
    found = truth_table(table(*GOOD), file="evidence/x.json")
    assert found.verdict is Verdict.PASS
    assert "2 of 2 cells" in found.summary and "1 of 2 rules met" in found.summary
    assert found.evidence["rules no request touched"] == ["foo/writer rule 0"]
    assert (found.evidence["requests"], found.evidence["file"]) == (4, "evidence/x.json")


def test_a_difference_is_named() -> None:
    found = truth_table(table(*GOOD, row(DENIED, OK, RBAC, RBAC, method="POST")))
    assert found.verdict is Verdict.FAIL
    assert "sleep → details POST /details/0: expected 403 RBAC" in found.summary
    assert "200, then 403 RBAC" in found.summary
    assert found.evidence["differences"][0]["request"] == "POST /details/0"


def test_what_is_not_known_is_an_infra_error_that_names_it() -> None:
    found = truth_table(table(*GOOD, row(UNSURE, OK)))
    assert found.verdict is Verdict.INFRA_ERROR
    assert "spec.cats" in found.summary and "1 of 3 cells" in found.summary


def test_a_difference_counts_more_than_what_is_not_known() -> None:
    assert truth_table(table(*GOOD, row(UNSURE, OK), row(ALLOWED, RBAC))).verdict is Verdict.FAIL


def test_a_control_that_did_not_trip_breaks_it() -> None:
    found = truth_table(table(*GOOD, row(DENIED, RBAC, RBAC, RBAC, control=CUT)))
    assert found.verdict is Verdict.BROKEN and "before the policies" in found.summary


def test_policies_that_tell_nothing_apart_prove_nothing() -> None:
    assert truth_table(table(row(ALLOWED, OK))).verdict is Verdict.BROKEN
    assert truth_table(table(row(DENIED, RBAC))).verdict is Verdict.BROKEN
