"""A small truth table for tests."""

from __future__ import annotations

from meshlab.security.authorization.cases import Case
from meshlab.security.authorization.model import Decision, Outcome
from meshlab.security.authorization.observe import Kind, Observation
from meshlab.security.authorization.table import Row, TruthTable

OK = Observation(Kind.ANSWERED, 200)
GONE = Observation(Kind.NOT_FOUND, 404)
RBAC = Observation(Kind.RBAC, 403)
BAD_TOKEN = Observation(Kind.TOKEN, 401)
CUT = Observation(Kind.RESET, 0, 56)
OPEN = Decision(Outcome.ALLOW, "no ALLOW policy applies")
ALLOWED = Decision(Outcome.ALLOW, "an ALLOW rule matches", "foo/viewer", 0)
DENIED = Decision(Outcome.DENY, "no rule of the ALLOW policies matches")
UNSURE = Decision(Outcome.UNKNOWN, "x", unknown=("AuthorizationPolicy foo/odd: spec.cats",))
RULES = {("foo/viewer", 0): 3, ("foo/writer", 0): 0}


def row(
    decision: Decision,
    *seen: Observation,
    client: str = "sleep",
    method: str = "GET",
    token: str = "",
    control: Observation = OK,
    before: Decision = OPEN,
) -> Row:
    """One cell of details."""
    return Row(Case(client, "details", method, "/details/0", token), before, control, decision, seen)


def table(*rows: Row) -> TruthTable:
    """The cells in a table."""
    return TruthTable(rows, RULES)


GOOD = (row(ALLOWED, OK), row(DENIED, RBAC, RBAC, RBAC, client="outside"))
