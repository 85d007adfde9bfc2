"""What curl is told, and how its answers are told apart."""

from __future__ import annotations

import pytest

from meshlab.app.source import Source
from meshlab.core.errors import ExecError
from meshlab.security.authorization.cases import SERVICES, Case, Client, cases
from meshlab.security.authorization.observe import (
    Ask,
    Kind,
    classify,
    configuration,
    observe,
    parse_answers,
    url_of,
)
from tests.fakes.kube import FakeExecStream, FakeKube

CASE = Case("sleep", "details", "GET", "/details/0")


@pytest.mark.parametrize(
    ("status", "code", "body", "kind", "text"),
    [
        (200, 0, "<html>", Kind.ANSWERED, "200"),
        (403, 0, "RBAC: access denied", Kind.RBAC, "403 RBAC"),
        (403, 0, "you may not", Kind.ANSWERED, "403"),  # the application's own
        (401, 0, "Jwt is expired", Kind.TOKEN, "401 JWT"),
        (401, 0, "log in first", Kind.ANSWERED, "401"),
        (403, 0, "Audiences in Jwt are not allowed", Kind.AUDIENCE, "403 JWT"),
        (404, 0, "", Kind.NOT_FOUND, "404"),
        (503, 0, "upstream connect error or disconnect/reset", Kind.UNAVAILABLE, "503"),
        (503, 0, '{"error": "busy"}', Kind.ANSWERED, "503"),
        (0, 56, "", Kind.RESET, "reset"),
        (0, 52, "", Kind.RESET, "reset"),
        (0, 28, "", Kind.FAILED, "no answer (curl 28)"),
        (200, 18, "half", Kind.FAILED, "no answer (curl 18)"),
    ],
)
def test_answers_are_told_apart(status: int, code: int, body: str, kind: Kind, text: str) -> None:
    found = classify(status, code, body)
    assert (found.kind, found.text) == (kind, text)


def test_curl_gets_each_request_and_its_token() -> None:
    posted = Ask(Case("sleep", "ratings", "POST", '/a"\\b', "editor"), 'http://x/a"\\b', "SECRET")
    text = configuration([Ask(CASE, "http://x/"), posted], "@@m")
    first, second = text.split("\nnext\n")
    assert 'url = "http://x/"' in first and "Bearer" not in first and "data" not in first
    assert r'url = "http://x/a\"\\b"' in second and 'header = "Authorization: Bearer SECRET"' in second
    assert "request = POST" in second and "path-as-is" in second
    assert "SECRET" not in repr(posted)


def test_answers_are_cut_at_the_marker_only() -> None:
    text = "a\n@@x 0 200 0\n\n@@m 0 200 0\nRBAC: access denied\n@@m 1 403 0\n\n@@m 2 000 56\n"
    assert [one.kind for one in parse_answers(text, "@@m", 3)] == [Kind.ANSWERED, Kind.RBAC, Kind.RESET]
    with pytest.raises(ExecError, match="3 of 4"):
        parse_answers(text, "@@m", 4)


def test_a_missing_curl_is_an_error_not_an_answer() -> None:
    kube = FakeKube()
    kube.streams = [FakeExecStream([(2, b"sh: curl: not found")])]
    with pytest.raises(ExecError, match="0 of 1 requests"):
        observe(kube, {"sleep": Source("foo", "sleep-1", "sleep", "u")}, [Ask(CASE, "http://x/")])  # type: ignore[arg-type]
    (_, _, _, argv, has_input) = kube.opened[0]
    assert (argv, has_input) == (("curl", "--config", "-"), True)


def test_through_a_gateway_only_what_it_routes_is_asked() -> None:
    direct, gateway = Client("sleep", "app=sleep", None), Client("gateway", "app=x", None, through="gate.svc")
    found = cases([direct, gateway])
    assert {case.service for case in found if case.client == "gateway"} == {"productpage"}
    assert len(found) == len(set(found))
    assert sum(case.client == "sleep" for case in found) == sum(
        len(one.methods) * len(one.paths) * len(one.tokens) for one in SERVICES
    )
    assert url_of(CASE, direct, "foo", 9080) == "http://details.foo.svc:9080/details/0"
    assert url_of(CASE, gateway, "foo", 9080) == "http://gate.svc/details/0"
