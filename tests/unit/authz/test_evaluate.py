"""The evaluator against what Istio's documentation says, page by page, and its laws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshlab.authz import parse
from meshlab.authz.evaluate import decide_all, mutual_tls
from meshlab.authz.model import Mesh, Outcome, Request, Workload
from tests.unit.authz.policies import FOO, NOW, answer, jwt, mesh, policy, request, token

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


def source(text: str) -> str:
    return f"rules: [{{from: [{{source: {text}}}]}}]"


def operation(text: str) -> str:
    return f"rules: [{{to: [{{operation: {text}}}]}}]"


def when(key: str, values: str) -> str:
    return f"rules: [{{when: [{{key: '{key}', {values}}}]}}]"


# Reference > Authorization Policy > Rule, Source, Operation: field · request · whether it matches
FIELDS: list[tuple[str, Request, bool]] = [
    (source("{principals: [cluster.local/ns/default/sa/sleep]}"), request(), True),
    (source("{principals: [cluster.local/ns/default/sa/slee]}"), request(), False),
    (source("{principals: ['cluster.local/ns/default/*']}"), request(), True),
    (source("{principals: ['*/sa/sleep']}"), request(), True),
    (source("{principals: ['*']}"), request(), True),
    (source("{principals: ['*']}"), request(caller=None), False),
    (source("{notPrincipals: ['*']}"), request(caller=None), True),
    (source("{notPrincipals: [cluster.local/ns/default/sa/sleep]}"), request(), False),
    (source("{principals: ['*'], notPrincipals: ['*/sleep']}"), request(caller="default/other"), True),
    (source("{namespaces: [default]}"), request(), True),
    (source("{namespaces: [def]}"), request(), False),
    (source("{namespaces: ['def*']}"), request(), True),
    (source("{namespaces: ['*ault']}"), request(), True),
    (source("{namespaces: [default]}"), request(caller=None), False),
    (source("{notNamespaces: [default]}"), request(), False),
    (source("{notNamespaces: [default]}"), request(caller=None), True),
    (source("{serviceAccounts: [default/sleep]}"), request(), True),
    (source("{serviceAccounts: [sleep]}"), request(), False),
    (source("{serviceAccounts: [sleep]}"), request(caller="foo/sleep"), True),
    (source("{notServiceAccounts: [default/sleep]}"), request(), False),
    (source("{trustDomains: [cluster.local]}"), request(), True),
    (source("{trustDomains: ['*.local']}"), request(), True),
    (source("{notTrustDomains: [cluster.local]}"), request(), False),
    (source("{ipBlocks: [10.1.0.0/16]}"), request(), True),
    (source("{ipBlocks: [10.1.2.3]}"), request(), True),
    (source("{ipBlocks: [10.1.2.4]}"), request(), False),
    (source("{notIpBlocks: [10.1.0.0/16]}"), request(), False),
    (source("{remoteIpBlocks: [203.0.113.0/24]}"), request(remote_ip="203.0.113.4"), True),
    (source("{notRemoteIpBlocks: [203.0.113.4]}"), request(remote_ip="203.0.113.4"), False),
    (source("{requestPrincipals: ['*']}"), request(token=EDITORS), True),
    (source("{requestPrincipals: ['*']}"), request(), False),
    (source("{notRequestPrincipals: ['*']}"), request(), True),
    (source("{requestPrincipals: [testing@secure.istio.io/testing@secure.istio.io]}"), request(token=EDITORS), True),
    (source("{requestPrincipals: ['testing@secure.istio.io/*']}"), request(token=EDITORS), True),
    (source("{requestPrincipals: ['*/testing@secure.istio.io']}"), request(token=EDITORS), True),
    (source("{requestPrincipals: ['testing@*']}"), request(token=EDITORS), True),
    (source("{requestPrincipals: ['*@secure.istio.io']}"), request(token=EDITORS), True),
    (source("{requestPrincipals: [testing@secure.istio.io/other]}"), request(token=EDITORS), False),
    (operation("{hosts: ['HTTPBIN.foo:8000']}"), request(), True),
    (operation("{hosts: [httpbin.foo]}"), request(), False),
    (operation("{hosts: ['httpbin.foo*']}"), request(), True),
    (operation("{notHosts: ['*']}"), request(), False),
    (operation("{ports: ['8000']}"), request(), True),
    (operation("{ports: ['8001']}"), request(), False),
    (operation("{notPorts: ['8000']}"), request(), False),
    (operation("{methods: [GET]}"), request(), True),
    (operation("{methods: [get]}"), request(), False),
    (operation("{methods: ['P*']}"), request("PUT /"), True),
    (operation("{methods: ['*']}"), request("PUT /"), True),
    (operation("{notMethods: [GET]}"), request(), False),
    (operation("{notMethods: [GET]}"), request("POST /"), True),
    (operation("{paths: [/a]}"), request("GET /a?b=c"), True),
    (operation("{paths: [/a]}"), request("GET /A"), False),
    (operation("{paths: ['/a*']}"), request("GET /a"), True),
    (operation("{paths: ['/a*']}"), request("GET /ab/c"), True),
    (operation("{paths: ['*/info']}"), request("GET /x/info"), True),
    (operation("{paths: ['*']}"), request("GET /"), True),
    (operation("{notPaths: ['/admin*']}"), request("GET /admin"), False),
    (operation("{paths: ['/foo/{*}']}"), request("GET /foo/bar"), True),
    (operation("{paths: ['/foo/{*}']}"), request("GET /foo/bar/baz"), False),
    (operation("{paths: ['/foo/{**}/']}"), request("GET /foo/bar/"), True),
    (operation("{paths: ['/foo/{**}/']}"), request("GET /foo/bar/baz.txt"), False),
    (operation("{paths: ['/foo/{**}/']}"), request("GET /foo//"), True),
    (operation("{paths: ['/foo/{**}/']}"), request("GET /foo/bar"), False),
    (operation("{paths: ['/foo/{*}/bar/{**}']}"), request("GET /foo/buzz/bar/"), True),
    (operation("{paths: ['/foo/{*}/bar/{**}']}"), request("GET /foo/buzz/bar/baz"), True),
    (operation("{methods: [GET], paths: [/a]}"), request("POST /a"), False),  # ANDed
    ("rules: [{to: [{operation: {paths: [/a]}}, {operation: {paths: [/b]}}]}]", request("GET /b"), True),
    ("rules: [{from: [{source: {namespaces: [x]}}]}, {to: [{operation: {paths: [/b]}}]}]", request("GET /b"), True),
    # Reference > Authorization Policy Conditions
    (when("request.headers[User-Agent]", "values: ['Mozilla/*']"), request(headers={"user-agent": "Mozilla/5"}), True),
    (when("request.headers[x]", "values: ['*']"), request(), False),
    (when("request.headers[x]", "notValues: ['*']"), request(), True),
    (when("source.ip", "values: [10.1.2.3]"), request(), True),
    (when("remote.ip", "values: [10.1.2.3]"), request(remote_ip="10.9.9.9"), False),
    (when("source.namespace", "values: [default]"), request(), True),
    (when("source.principal", "values: ['cluster.local/ns/default/sa/*']"), request(), True),
    (when("source.serviceAccount", "values: [default/sleep]"), request(), True),
    (when("source.trustDomain", "values: [cluster.local]"), request(), True),
    (when("request.auth.principal", "values: ['testing@secure.istio.io/*']"), request(token=EDITORS), True),
    (when("request.auth.audiences", "values: [books]"), request(token=EDITORS), True),
    (when("request.auth.audiences", "values: [films]"), request(token=EDITORS), False),
    (when("request.auth.presenter", "values: [shop]"), request(token=EDITORS), True),
    (when("request.auth.claims[groups]", "values: [editors]"), request(token=EDITORS), True),
    (when("request.auth.claims[groups]", "values: ['edit*']"), request(token=EDITORS), True),
    (when("request.auth.claims[groups]", "values: [editors]"), request(), False),
    (when("request.auth.claims[groups]", "notValues: [editors]"), request(), True),
    (when("request.auth.claims[realm][roles]", "values: [boss]"), request(token=EDITORS), True),
    (when("request.auth.claims[scope]", "values: [write]"), request(token=EDITORS), True),
    (when("request.auth.claims[age]", "values: ['7']"), request(token=EDITORS), False),
    (when("destination.ip", "values: [10.2.0.0/16]"), request(destination_ip="10.2.0.9"), True),
    (when("destination.port", "values: ['8000']"), request(), True),
    (when("connection.sni", "values: ['*.foo.svc.cluster.local']"), request(sni="outbound_.x.foo.svc.cluster.local"), True),
]  # fmt: skip

# What is not understood is said, never guessed: policies · request · answer · what is named
UNKNOWN: list[tuple[list[str], Request, Outcome, str]] = [
    (["{action: CUSTOM, provider: {name: x}, rules: [{}]}"], request(), U, "CUSTOM"),
    (
        ["{action: CUSTOM, rules: [{to: [{operation: {paths: [/a]}}]}]}"],
        request("GET /b"),
        A,
        "",
    ),  # cannot match
    (["{action: CUSTOM, rules: [{}]}", "{}"], request(), D, ""),  # denied whatever the extension says
    (["{action: LATER, rules: [{}]}"], request(), U, "spec.action LATER"),
    (["{rules: [{}], mode: x}"], request(), U, "spec.mode"),
    ([source("{cats: [felix]}")], request(), U, "spec.rules[0].from[0].source.cats"),
    (["{action: DENY, rules: [{from: [{source: {cats: [felix]}}]}]}"], request(), U, "source.cats"),
    (["{action: DENY, rules: [{to: [{operation: {cats: [a]}}]}]}", DENY_ALL], request(), D, ""),
    ([operation("{cats: [felix], methods: [POST]}")], request(), D, ""),  # it cannot match all the same
    ([operation("{paths: ['/a*b']}")], request(), U, "'/a*b'"),
    ([operation("{paths: ['/{**}/foo/{*}']}")], request(), U, "not the last operator"),
    ([operation("{paths: ['/foo/{*}.txt']}")], request(), U, "literal"),
    ([operation("{paths: ['/*/baz/{*}']}")], request(), U, "literal"),
    ([operation("{ports: ['80a']}")], request(), U, "is no port"),
    ([source("{ipBlocks: [nowhere]}")], request(), U, "no CIDR block"),
    ([source("{serviceAccounts: ['*']}")], request(), U, "no wildcard"),
    (
        [when("experimental.envoy.filters.a[b]", "values: [x]")],
        request(),
        U,
        "experimental.envoy.filters.a[b]",
    ),
    ([when("request.colour", "values: [x]")], request(), U, "request.colour"),
    ([when("destination.ip", "values: [10.0.0.1]")], request(), U, "hangs on what is not known here"),
    ([when("request.headers[User-Agent]", "values: [x]")], request(), U, "hangs on what is not known here"),
    (["{targetRefs: [{kind: Gateway, name: x}], rules: [{}]}"], request(), U, "spec.targetRefs"),
    (["{targetRefs: [{kind: Gateway, name: x}], rules: [{}]}", ALLOW_ALL], request(), A, ""),
    (["{selector: {matchExpressions: []}, rules: [{}]}"], request(), U, "matchExpressions"),
    ([operation("{paths: [/a]}")], request("GET /ä"), U, "hangs on what is not known here"),
]


@pytest.mark.parametrize(("page", "policies", "wanted", "outcome"), DOCUMENTED)
def test_documented(page: str, policies: list[str], wanted: Request, outcome: Outcome) -> None:
    found = mesh(*(policy(text, name=f"p{n}") for n, text in enumerate(policies)), authentications=[jwt()])
    assert answer(found, wanted).outcome is outcome, page


@pytest.mark.parametrize(("text", "wanted", "matches"), FIELDS)
def test_fields(text: str, wanted: Request, matches: bool) -> None:
    """As ALLOW and as DENY: the same rule, the opposite answers."""
    allow, deny = policy(text), policy(text)
    deny["spec"]["action"] = "DENY"
    assert answer(mesh(allow, authentications=[jwt()]), wanted).outcome is (A if matches else D)
    assert answer(mesh(deny, authentications=[jwt()]), wanted).outcome is (D if matches else A)


@pytest.mark.parametrize(("policies", "wanted", "outcome", "named"), UNKNOWN)
def test_unknown(policies: list[str], wanted: Request, outcome: Outcome, named: str) -> None:
    found = answer(mesh(*(policy(text, name=f"p{n}") for n, text in enumerate(policies))), wanted)
    assert found.outcome is outcome
    assert named in " ".join((found.why, *found.unknown))


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
        (token(exp=NOW - 1), {}, Outcome.UNAUTHENTICATED),
        (token(nbf=NOW + 60), {}, Outcome.UNAUTHENTICATED),
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


# ── laws

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


def test_nothing_in_the_mesh() -> None:
    assert parse.mesh([]) == Mesh()
