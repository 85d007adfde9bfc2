"""The evaluator against what Istio's documentation says, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.security.authorization import parse
from meshlab.security.authorization.evaluate import decide_all
from meshlab.security.authorization.model import Mesh, Outcome, Request, Workload
from meshlab.security.authorization.transport import mutual_tls
from tests.unit.security.authorization.policies import (
    FOO,
    NOW,
    answer,
    jwt,
    mesh,
    policy,
    request,
    source,
    token,
)

A, D, U = Outcome.ALLOW, Outcome.DENY, Outcome.UNKNOWN
ALLOW_ALL, DENY_ALL = "rules: [{}]", "{action: DENY, rules: [{}]}"
EDITORS = token("editors", groups=["editors", "viewers"], aud=["books"], azp="shop", realm={"roles": ["boss"]},
                scope="read write", age=7)  # fmt: skip
AUTHORIZATION_POLICY = """
rules:
- from:
  - source: {principals: ["cluster.local/ns/default/sa/sleep"]}
  - source: {namespaces: ["test"]}
  to:
  - operation: {methods: ["GET"], paths: ["/info*"]}
  - operation: {methods: ["POST"], paths: ["/data"]}
  when:
  - {key: "request.auth.claims[iss]", values: ["testing@secure.istio.io"]}
"""

# Page of istio.io · policies (name: spec) · request · answer
DOCUMENTED: list[tuple[str, list[str], Request, Outcome]] = [
    # Concepts > Security > Implicit enablement: no policy allows all.
    ("Security: implicit enablement", [], request(), A),
    # Reference > Authorization Policy: the rules of evaluation, and its examples.
    ("Authorization Policy: allow-nothing", ["{}"], request(), D),
    ("Authorization Policy: allow-all", [ALLOW_ALL], request(), A),
    ("Authorization Policy: DENY without rules", ["{action: DENY}"], request(), A),
    ("Authorization Policy: deny-all", [DENY_ALL], request(), D),
    ("Authorization Policy: DENY first", [ALLOW_ALL, DENY_ALL], request(), D),
    ("Authorization Policy: any ALLOW", ["{}", ALLOW_ALL], request(), A),
    ("Authorization Policy: AUDIT", ["{action: AUDIT, rules: [{}]}"], request(), A),
    ("Authorization Policy: AUDIT beside ALLOW", ["{action: AUDIT, rules: [{}]}", "{}"], request(), D),
    ("Authorization Policy: first example", [AUTHORIZATION_POLICY], request("GET /info"), D),
    ("Authorization Policy: first example", [AUTHORIZATION_POLICY], request("GET /info/1", token=token()), A),
    ("Authorization Policy: first example", [AUTHORIZATION_POLICY], request("POST /info", token=token()), D),
    ("Authorization Policy: first example", [AUTHORIZATION_POLICY], request("POST /data", token=token()), A),
    (
        "Authorization Policy: first example",
        [AUTHORIZATION_POLICY],
        request("GET /info", "test/x", token()),
        A,
    ),
    (
        "Authorization Policy: first example",
        [AUTHORIZATION_POLICY],
        request("GET /info", "dev/x", token()),
        D,
    ),
    (
        "Authorization Policy: POST from dev",
        [
            "{action: DENY, rules: [{from: [{source: {namespaces: [dev]}}], to: [{operation: {methods: [POST]}}]}]}"
        ],
        request("POST /", "dev/x"),
        D,
    ),
    (
        "Authorization Policy: POST from dev",
        [
            "{action: DENY, rules: [{from: [{source: {namespaces: [dev]}}], to: [{operation: {methods: [POST]}}]}]}"
        ],
        request("GET /", "dev/x"),
        A,
    ),
]


@pytest.mark.parametrize(("page", "policies", "wanted", "outcome"), DOCUMENTED)
def test_documented(page: str, policies: list[str], wanted: Request, outcome: Outcome) -> None:
    found = mesh(*(policy(text, name=f"p{n}") for n, text in enumerate(policies)), authentications=[jwt()])
    assert answer(found, wanted).outcome is outcome, page


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        ({"namespace": "foo"}, D),
        ({"namespace": "bar"}, A),
        ({"namespace": "istio-system"}, D),  # the root namespace: every workload
        ({"namespace": "foo", "text": "{selector: {matchLabels: {app: httpbin}}}"}, D),
        ({"namespace": "foo", "text": "{selector: {matchLabels: {app: httpbin, version: v2}}}"}, A),
        ({"namespace": "istio-system", "text": "{selector: {matchLabels: {version: v1}}}"}, D),
        ({"namespace": "foo", "dry_run": "true"}, A),  # Tasks > Dry Run
        ({"namespace": "foo", "dry_run": "false"}, D),
    ],
)
def test_scope(target: dict[str, str], outcome: Outcome) -> None:
    """Authorization Policy: "scope (target) is determined by metadata/namespace and an optional selector"."""
    assert answer(mesh(policy(**target)), request()).outcome is outcome


@pytest.mark.parametrize(
    ("sent", "how", "outcome"),
    [
        ("/a/../admin", "DEFAULT", D),
        ("/./admin", "BASE", D),
        ("/%61dmin", "BASE", D),
        ("/a/%2e%2E/admin", "BASE", D),
        ("\\admin", "BASE", U),
        ("//admin", "BASE", A),
        ("//admin", "MERGE_SLASHES", D),
        ("/%2Fadmin", "MERGE_SLASHES", A),
        ("/%2Fadmin", "DECODE_AND_MERGE_SLASHES", D),
        ("/a/../admin", "NONE", A),
        ("/admin", "LATER", U),
    ],
)
def test_normalisation(sent: str, how: str, outcome: Outcome) -> None:
    """Reference > Authorization Policy Normalization."""
    rule = policy("{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}")
    found = mesh(rule, mesh_config=f"pathNormalization: {{normalization: {how}}}")
    assert answer(found, request(f"GET {sent}")).outcome is outcome


@pytest.mark.parametrize(
    ("sent", "rule", "outcome"),
    [
        (None, {}, A),  # RequestAuthentication: "a request without any token is accepted"
        (token(), {}, A),
        (token(signed=False), {}, Outcome.UNAUTHENTICATED),
        (token(exp=NOW - 61), {}, Outcome.UNAUTHENTICATED),
        (token(nbf=NOW + 61), {}, Outcome.UNAUTHENTICATED),
        (token(iss="other"), {}, Outcome.UNAUTHENTICATED),
        (token(aud="films"), {"audiences": ["books"]}, Outcome.FORBIDDEN_TOKEN),
        (token(aud=["films", "books"]), {"audiences": ["books"]}, A),
        (token(), {"fromHeaders": [{"name": "x"}]}, U),
        (token(), {"jwks": "no json"}, U),
    ],
)
def test_tokens(sent: Any, rule: dict[str, Any], outcome: Outcome) -> None:
    """Reference > RequestAuthentication, and Tasks > Authorization for JWT."""
    assert answer(mesh(authentications=[jwt(**rule)]), request(token=sent)).outcome is outcome


def test_a_token_means_nothing_where_none_is_asked_for() -> None:
    found = mesh(policy(source("{requestPrincipals: ['*']}")), authentications=[jwt("bar")])
    assert answer(found, request(token=token())).outcome is D


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        ([], "PERMISSIVE"),
        ([("istio-system", "STRICT", {})], "STRICT"),
        ([("istio-system", "STRICT", {}), ("foo", "PERMISSIVE", {})], "PERMISSIVE"),
        ([("istio-system", "STRICT", {}), ("foo", "UNSET", {})], "STRICT"),
        ([("foo", "STRICT", {}), ("foo", "DISABLE", {"app": "httpbin"})], "DISABLE"),
        ([("foo", "STRICT", {}), ("foo", "DISABLE", {"app": "other"})], "STRICT"),
        ([("bar", "STRICT", {})], "PERMISSIVE"),
    ],
)
def test_mutual_tls(modes: list[tuple[str, str, dict[str, str]]], mode: str) -> None:
    """Reference > PeerAuthentication: workload before namespace before mesh."""
    peers = [
        {"metadata": {"name": f"p{n}", "namespace": namespace},
         "spec": {"mtls": {"mode": word}, "selector": {"matchLabels": labels}}}
        for n, (namespace, word, labels) in enumerate(modes)
    ]  # fmt: skip
    found = mesh(peers=peers)
    assert mutual_tls(found, FOO, 8000) == mode
    refused = answer(found, request(caller=None)).outcome
    assert refused is (Outcome.REFUSED if mode == "STRICT" else A)


def test_a_port_of_a_workload_has_its_own_mode() -> None:
    spec = {"selector": {"matchLabels": {"app": "httpbin"}}, "mtls": {"mode": "STRICT"},
            "portLevelMtls": {"8000": {"mode": "DISABLE"}}}  # fmt: skip
    found = mesh(peers=[{"metadata": {"name": "p", "namespace": "foo"}, "spec": spec}])
    assert (mutual_tls(found, FOO, 8000), mutual_tls(found, FOO, 9000)) == ("DISABLE", "STRICT")


def test_a_decision_names_its_rule() -> None:
    shut = "{action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}, {}]}"
    found = mesh(policy(ALLOW_ALL, name="open"), policy(shut, name="shut"))
    told = answer(found, request())
    assert (told.policy, told.rule, told.outcome) == ("foo/shut", 1, D)
    assert set(told.matched) == {("foo/open", 0), ("foo/shut", 1)}


def test_workloads_of_a_service_that_differ_are_unknown() -> None:
    found = mesh(policy("selector: {matchLabels: {version: v1}}"))
    both = [FOO, Workload("foo", {"app": "httpbin", "version": "v2"})]
    assert decide_all(found, both[:1], request(), now=NOW).outcome is D
    assert decide_all(found, both, request(), now=NOW).outcome is U
    assert decide_all(found, [], request(), now=NOW).outcome is U


def test_nothing_in_the_mesh() -> None:
    assert parse.mesh([]) == Mesh()
