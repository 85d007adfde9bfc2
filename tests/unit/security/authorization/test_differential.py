"""The evaluator against Istio's own configuration, matched by a model of Envoy: 2,000 fixed cases, and seeded faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from meshlab.security.authorization import evaluate, jwt, match, parse, transport, trust, values
from tests.differential import generate, worlds

CASES = 10  # of each world


@cache
def told() -> tuple[tuple[dict[str, Any], list[tuple[worlds.Case, str]]], ...]:
    """Each world, with its cases and what Istio's configuration and Envoy say of them."""
    return tuple(
        (world, [(case, worlds.expected(world, config, case)) for case in worlds.requests(seed, CASES)])
        for seed, (world, config) in enumerate(generate.kept())
    )


def answers() -> Iterator[tuple[str, str]]:
    """Their answer and ours, for each case."""
    for world, cases in told():
        mesh = worlds.mesh_of(world)
        yield from ((theirs, worlds.ours(world, mesh, case)) for case, theirs in cases)


def test_no_case_differs() -> None:
    found = list(answers())
    assert [pair for pair in found if pair[0] != pair[1] and pair[1] != "unknown"] == []
    counted = Counter(ours for _, ours in found)
    assert len(found) == 2000 and counted["unknown"] < 20
    assert min(counted[one] for one in ("allow", "deny", "unauthenticated")) > 100
    assert min(counted[one] for one in ("refused", "forbidden-token")) > 10


FAULTS: dict[str, tuple[Any, str, Any]] = {
    "no alias is expanded in principals": (trust, "principals", lambda value, domains: (value,)),
    "no alias is expanded in trust domains": (trust, "trust_domains", lambda value, domains: (value,)),
    "cluster.local points at nothing": (trust, "TRUST_POINTER", "nothing"),
    "the clock has no leeway": (jwt, "LEEWAY", 0),
    "expired tokens are taken": (jwt, "_too_late", lambda claims, now: False),
    "early tokens are taken": (jwt, "_too_early", lambda claims, now: False),
    "odd claims are taken": (jwt, "STRINGS", ()),
    "audiences are compared as they stand": (jwt, "bare", lambda audience: audience),
    "any audience is taken": (jwt, "_meant_for", lambda rule, claims: True),
    "a preflight needs a token": (jwt, "_preflight", lambda request: False),
    "plaintext is never refused": (transport, "mutual_tls", lambda mesh, workload, port: "PERMISSIVE"),
    "the first of the first line's headers only": (match, "PSEUDO", (":method",)),
    "suffixes match anywhere": (values, "string_matches", lambda pattern, value, **_: pattern.strip("*") in value),
    "paths match as strings": (match, "path_matches", lambda pattern, path: pattern == path),
    "namespaces match exactly": (match, "namespace_matches", lambda pattern, peer: pattern == peer.namespace),
    "accounts match in every namespace": (
        match, "account_matches", lambda pattern, peer, own: pattern.rpartition("/")[2] == peer.service_account
    ),
    "addresses match exactly": (match, "address_matches", lambda block, address: block == address),
    "request principals need no issuer": (
        match,
        "request_principal_matches",
        lambda pattern, claims: values.string_matches(pattern.rpartition("/")[2], claims["sub"]),
    ),
    "claims are never nested": (match, "claim_values", lambda claims, key, spaced=(): ()),
    "negation is forgotten": (match, "negate", lambda answer: answer),
    "one condition is enough": (match, "all_of", values.any_of),
    "every value is needed": (match, "any_of", values.all_of),
    "dry runs are enforced": (parse, "TRUE_WORDS", ()),
    "paths are not normalised": (evaluate, "normalised", lambda path, how: path.partition("?")[0]),
    "the query counts": (evaluate, "normalised", lambda path, how: path),
    "selectors are ignored": (
        evaluate, "applies", lambda target, workload, root: target.namespace in (workload.namespace, root)
    ),
    "the root namespace is not special": (
        evaluate, "applies", lambda target, workload, root: transport.applies(target, workload, workload.namespace)
    ),
    "a condition asks for another field": (match, "CONDITION_KEYS", {**values.CONDITION_KEYS, "source.namespace": "principals"}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_evaluator_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, value = FAULTS[fault]
    monkeypatch.setattr(owner, name, value)
    assert any(ours not in (theirs, "unknown") for theirs, ours in answers()), f"{fault}: no case differs"
