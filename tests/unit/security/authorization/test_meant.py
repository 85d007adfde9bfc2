"""What is meant against what is in the cluster."""

from __future__ import annotations

from dataclasses import replace

from meshlab.security.authorization.model import Mesh
from meshlab.security.authorization.prove import meant_by
from tests.examples.truth_tables import ALLOWED, DENIED, OK, RBAC, UNSURE, row
from tests.unit.security.authorization.policies import answer, mesh, policy, request


def test_a_policy_of_somebody_else_is_a_finding_that_names_it() -> None:
    cell = replace(row(ALLOWED, OK), meant=DENIED)
    assert cell.agrees is False and cell.wanted == "403 RBAC"
    assert cell.difference == (
        "sleep → details GET /details/0: meant 403 RBAC (no rule of the ALLOW policies matches), the policies in "
        "the cluster say allow (foo/viewer rule 0: an ALLOW rule matches), observed 200"
    )


def test_what_is_meant_and_in_force_is_only_observed() -> None:
    assert replace(row(DENIED, RBAC), meant=DENIED).agrees is True
    assert replace(row(DENIED, OK), meant=DENIED).agrees is False
    assert (
        replace(row(UNSURE, OK), meant=DENIED).agrees is None
    )  # nothing is claimed of what is not understood


def documents() -> list[dict]:
    return [{"kind": "AuthorizationPolicy", **policy("{}", name="allow-nothing")}]


def test_only_policies_of_ours_are_meant_and_the_root_s_where_the_mesh_is_not_ours() -> None:
    found = mesh(
        policy("{}", name="allow-nothing"),
        policy("rules: [{}]", name="open"),
        policy("rules: [{to: [{operation: {methods: [GET]}}]}]", name="readers", namespace="istio-system"),
    )
    ours, theirs = (meant_by(documents(), found, managed=value) for value in (True, False))
    assert [one.name for one in ours.policies] == ["allow-nothing"]
    assert [one.name for one in theirs.policies] == ["allow-nothing", "readers"]
    outcomes = [str(answer(one, request()).outcome) for one in (found, ours, theirs)]
    assert outcomes == ["allow", "deny", "allow"]


def test_mutual_tls_is_as_it_is() -> None:
    peers = [
        {"metadata": {"name": "strict", "namespace": "istio-system"}, "spec": {"mtls": {"mode": "STRICT"}}}
    ]
    found = mesh(peers=peers)
    assert meant_by([], found, managed=True) == replace(Mesh(), peers=found.peers)
