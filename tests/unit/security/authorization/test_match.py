"""Each field of a rule, matched and not; and what is not understood, which is said and never guessed."""

from __future__ import annotations

import pytest

from meshlab.security.authorization.model import Outcome, Request
from tests.unit.security.authorization.policies import (
    answer,
    jwt,
    mesh,
    operation,
    policy,
    request,
    source,
    token,
    when,
)

A, D, U = Outcome.ALLOW, Outcome.DENY, Outcome.UNKNOWN
ALLOW_ALL, DENY_ALL = "rules: [{}]", "{action: DENY, rules: [{}]}"
EDITORS = token("editors", groups=["editors", "viewers"], aud=["books"], azp="shop", realm={"roles": ["boss"]},
                scope="read write", age=7)  # fmt: skip

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
    (["{selector: {matchExpressions: []}, rules: [{}]}"], request(), U, "matchExpressions"),
    ([operation("{paths: [/a]}")], request("GET /ä"), U, "hangs on what is not known here"),
]


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
