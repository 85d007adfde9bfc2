"""Laws that hold whatever the policies are: order, what denies, what opens, what has no effect."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshlab.security.authorization.model import Outcome, Request
from tests.unit.security.authorization.policies import answer, jwt, mesh, policy, request, token

A, D = Outcome.ALLOW, Outcome.DENY
DENY_ALL = "{action: DENY, rules: [{}]}"
# A busy machine is no counterexample.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

VALUES = {
    "principals": ["cluster.local/ns/default/sa/sleep", "*", "cluster.local/ns/test/*"],
    "namespaces": ["default", "te*"], "ipBlocks": ["10.1.0.0/16", "10.9.9.9"],
    "requestPrincipals": ["*"], "serviceAccounts": ["default/sleep"],
    "methods": ["GET", "P*"], "paths": ["/a", "/a*", "*/b", "/a/{*}", "/{**}"], "ports": ["8000", "9"],
    "hosts": ["httpbin.foo*"], "cats": ["felix"],
}  # fmt: skip


# Made once: hypothesis looks into a strategy when it is new, which takes longer than to draw from it.
SOME_VALUES = {
    name: st.lists(st.sampled_from(values), min_size=1, max_size=2) for name, values in VALUES.items()
}
SOURCES = st.lists(
    st.sampled_from(("principals", "namespaces", "ipBlocks", "requestPrincipals", "cats")),
    unique=True,
    max_size=2,
)
OPERATIONS = st.lists(
    st.sampled_from(("methods", "paths", "ports", "hosts", "cats")), unique=True, max_size=2
)
EITHER, NUMBERS = st.booleans(), st.integers(0, 99)
LABELS = st.sampled_from(({}, {"app": "httpbin"}, {"app": "other"}))
NAMESPACES = st.sampled_from(("foo", "istio-system"))


@st.composite
def parts(draw: st.DrawFn, names: st.SearchStrategy[list[str]]) -> dict[str, list[str]]:
    found = {}
    for name in draw(names):
        key = name if draw(EITHER) or name == "cats" else f"not{name[0].upper()}{name[1:]}"
        found[key] = draw(SOME_VALUES[name])
    return found


RULES = st.lists(
    st.fixed_dictionaries(
        {
            "from": st.lists(st.fixed_dictionaries({"source": parts(SOURCES)}), max_size=2),
            "to": st.lists(st.fixed_dictionaries({"operation": parts(OPERATIONS)}), max_size=2),
        }
    ),
    max_size=2,
)
EVERY = ("ALLOW", "DENY", "AUDIT", "CUSTOM")
ACTIONS = {actions: st.sampled_from(actions) for actions in (EVERY, *((one,) for one in EVERY))}


@st.composite
def policies(draw: st.DrawFn, actions: tuple[str, ...] = EVERY) -> dict[str, Any]:
    spec = {"action": draw(ACTIONS[actions]), "rules": draw(RULES)}
    labels = draw(LABELS)
    return {"metadata": {"name": f"p{draw(NUMBERS)}", "namespace": draw(NAMESPACES)},
            "spec": {**spec, "selector": {"matchLabels": labels}}}  # fmt: skip


requests = st.builds(
    request,
    st.sampled_from(("GET /a", "POST /a/b", "PUT /", "GET /x/../a", "GET /ä")),
    st.sampled_from(("default/sleep", "test/x", None)),
    st.sampled_from((None, token())),
)
some = st.lists(policies(), max_size=6)


def outcome(found: list[dict[str, Any]], wanted: Request) -> Outcome:
    return answer(mesh(*found, authentications=[jwt()]), wanted).outcome


@unhurried
@given(some, requests, st.randoms())
def test_order_does_not_matter(found: list[dict[str, Any]], wanted: Request, chance: Any) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert outcome(found, wanted) is outcome(shuffled, wanted)


@unhurried
@given(some, requests)
def test_a_deny_all_denies_whatever_else_there_is(found: list[dict[str, Any]], wanted: Request) -> None:
    assert outcome([*found, policy(DENY_ALL)], wanted) is D


@unhurried
@given(some, policies(("ALLOW",)), requests)
def test_an_allow_never_undoes_a_deny(
    found: list[dict[str, Any]], more: dict[str, Any], wanted: Request
) -> None:
    before = answer(mesh(*found, authentications=[jwt()]), wanted)
    if before.outcome is D and before.policy:
        assert outcome([*found, more], wanted) is D


@unhurried
@given(some, policies(("DENY",)), requests)
def test_a_deny_never_opens(found: list[dict[str, Any]], more: dict[str, Any], wanted: Request) -> None:
    if outcome(found, wanted) is D:
        assert outcome([*found, more], wanted) is D


@unhurried
@given(some, policies(("AUDIT",)), requests)
def test_an_audit_has_no_effect(found: list[dict[str, Any]], more: dict[str, Any], wanted: Request) -> None:
    assert outcome(found, wanted) is outcome([*found, more], wanted)


@unhurried
@given(some, requests)
def test_without_what_is_not_known_there_is_an_answer(found: list[dict[str, Any]], wanted: Request) -> None:
    known = [one for one in found if "cats" not in str(one) and one["spec"]["action"] != "CUSTOM"]
    if wanted.path.isascii():
        assert outcome(known, wanted) in (A, D)
