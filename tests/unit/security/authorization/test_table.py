"""Which observation is as expected, and what a finding says."""

from __future__ import annotations

import pytest

from meshlab.security.authorization.model import Decision, Outcome
from meshlab.security.authorization.table import Row, coverage
from tests.examples.truth_tables import (
    ALLOWED,
    BAD_TOKEN,
    CUT,
    DENIED,
    GONE,
    GOOD,
    OK,
    RBAC,
    UNSURE,
    row,
    table,
)
from tests.unit.security.authorization.policies import FOO, answer, mesh, policy, request


@pytest.mark.parametrize(
    ("cell", "agrees", "wanted"),
    [
        (row(ALLOWED, OK), True, "200"),
        (row(ALLOWED, GONE, control=GONE), True, "404"),  # allowed, and there is no such page
        (row(ALLOWED, GONE), False, "200"),
        (row(ALLOWED, RBAC), False, "200"),
        (row(ALLOWED, OK, control=RBAC), True, "an answer"),  # refused before, so no status is known
        (row(DENIED, RBAC, RBAC, RBAC), True, "403 RBAC"),
        (row(DENIED, RBAC, OK, RBAC), False, "403 RBAC"),
        (row(DENIED, BAD_TOKEN), False, "403 RBAC"),
        (row(Decision(Outcome.UNAUTHENTICATED, "expired"), BAD_TOKEN), True, "401 JWT"),
        (row(Decision(Outcome.REFUSED, "plaintext"), CUT), True, "reset"),
        (row(UNSURE, OK), None, "unknown"),
    ],
)
def test_agreement(cell: Row, agrees: bool | None, wanted: str) -> None:
    assert (cell.agrees, cell.wanted) == (agrees, wanted)


def test_a_difference_names_cell_policy_and_both_answers() -> None:
    found = row(ALLOWED, RBAC, method="POST", token="editor").difference
    assert found == (
        "sleep → details POST /details/0 with token editor: expected 200 (foo/viewer rule 0: an ALLOW rule matches), "
        "observed 403 RBAC"
    )


def test_what_was_not_answered_before_proves_nothing() -> None:
    assert table(*GOOD).untripped == ()
    cell = row(DENIED, RBAC, control=CUT)
    assert table(cell).untripped == (cell,)
    assert table(row(DENIED, RBAC, control=RBAC, before=DENIED)).untripped == ()  # expected, as it was


def test_rules_that_no_request_met() -> None:
    assert table(*GOOD).untouched == ("foo/writer rule 0",)
    found = mesh(
        policy("rules: [{to: [{operation: {methods: [GET]}}]}, {to: [{operation: {methods: [PUT]}}]}]"),
        policy("{selector: {matchLabels: {app: other}}, rules: [{}]}", name="elsewhere"),
        policy("rules: [{}]", name="tried", dry_run="true"),
    )
    decisions = [answer(found, request()), answer(found, request("POST /"))]
    assert coverage(found, [FOO], decisions) == {("foo/p", 0): 1, ("foo/p", 1): 0}
