from __future__ import annotations

import json

import pytest
import urllib3
import websocket
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from meshlab.core.errors import InputError, KubeError
from meshlab.kube.api_errors import api_errors, message_of


def _translated(problem: Exception) -> KubeError:
    with pytest.raises(KubeError) as caught, api_errors("list pods in default"):
        raise problem
    assert caught.value.remedy
    assert caught.value.message.startswith("can't list pods in default: ")
    return caught.value


def _answer(status: int, message: str) -> ApiException:
    body = json.dumps({"kind": "Status", "reason": "Some", "message": message})
    return ApiException(status=status, reason="Some", body=body)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (409, True),
        (422, False),
        (429, True),
        (500, True),
        (503, True),
    ],
)
def test_what_may_be_tried_again(status: int, retryable: bool) -> None:
    problem = _translated(_answer(status, "because"))
    assert (problem.status, problem.retryable) == (status, retryable)
    assert "because" in problem.message


def test_object_that_exists_already_is_not_worth_a_retry() -> None:
    body = json.dumps({"reason": "AlreadyExists", "message": "exists"})
    assert not _translated(ApiException(status=409, body=body)).retryable


def test_forbidden_names_the_permission() -> None:
    problem = _translated(
        _answer(
            403,
            'deployments.apps is forbidden: User "jane" cannot list resource "deployments" '
            'in API group "apps" in the namespace "bookinfo"',
        )
    )
    assert problem.remedy == "grant the permission to list deployments.apps in namespace bookinfo to jane"
    assert not problem.retryable


def test_forbidden_path_and_missing_credentials() -> None:
    path = 'forbidden: User "jane" cannot get path "/apis"'
    assert _translated(_answer(403, path)).remedy == "grant the permission to get path /apis to jane"
    assert "credentials" in _translated(_answer(403, path.replace("jane", "system:anonymous"))).remedy


def test_forbidden_by_an_admission_rule() -> None:
    assert "admission rule" in _translated(_answer(403, "violates PodSecurity")).remedy


def test_webhook_that_does_not_answer() -> None:
    problem = _translated(_answer(500, 'Internal error: failed calling webhook "x": connection refused'))
    assert "webhook" in problem.remedy
    assert problem.retryable


def test_broken_connection_is_retryable() -> None:
    for problem in (
        urllib3.exceptions.ProtocolError("reset"),
        ConnectionResetError("reset"),
        TimeoutError("late"),
    ):
        translated = _translated(problem)
        assert translated.retryable
        assert translated.status is None


def test_untrusted_certificate_is_not() -> None:
    problem = _translated(urllib3.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"))
    assert not problem.retryable
    assert "another cluster" in problem.remedy


def test_stream_that_was_refused_shows_what_the_server_said() -> None:
    body = json.dumps({"message": 'pods "x" not found'}).encode()
    cause = websocket.WebSocketBadStatusException(
        "Handshake status 404 Not Found -+-+- ...", 404, resp_body=body
    )
    try:
        try:
            raise cause
        except websocket.WebSocketBadStatusException as refused:
            raise ApiException(status=0, reason=str(refused))  # noqa: B904 (as the library does)
    except ApiException as problem:
        translated = _translated(problem)
    assert translated.status == 404
    assert 'pods "x" not found' in translated.message
    assert not translated.retryable


def test_unknown_kind_and_unusable_kubeconfig() -> None:
    assert _translated(ResourceNotFoundError("No matches")).status == 404
    assert "context" in _translated(ConfigException("no such context")).remedy


def test_other_errors_pass() -> None:
    with pytest.raises(InputError), api_errors("do something"):
        raise InputError([])


def test_message_of_what_is_no_status() -> None:
    assert message_of(None) == ""
    assert message_of(b"plain text") == "plain text"
    assert message_of('{"message": "m"}') == "m"
    assert message_of("[1]") == "[1]"
