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


@st.composite
def parts(draw: st.DrawFn, names: tuple[str, ...]) -> dict[str, list[str]]:
    found = {}
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=2)):
        key = name if draw(st.booleans()) or name == "cats" else f"not{name[0].upper()}{name[1:]}"
        found[key] = draw(st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=2))
    return found


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    sources = st.lists(
        parts(("principals", "namespaces", "ipBlocks", "requestPrincipals", "cats")), max_size=2
    )
    operations = st.lists(parts(("methods", "paths", "ports", "hosts", "cats")), max_size=2)
    return {
        "from": [{"source": one} for one in draw(sources)],
        "to": [{"operation": one} for one in draw(operations)],
    }


@st.composite
def policies(
    draw: st.DrawFn, actions: tuple[str, ...] = ("ALLOW", "DENY", "AUDIT", "CUSTOM")
) -> dict[str, Any]:
    spec = {"action": draw(st.sampled_from(actions)), "rules": draw(st.lists(rules(), max_size=2))}
    labels = draw(st.sampled_from(({}, {"app": "httpbin"}, {"app": "other"})))
    return {"metadata": {"name": f"p{draw(st.integers(0, 99))}", "namespace": draw(st.sampled_from(("foo", "istio-system")))},
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
