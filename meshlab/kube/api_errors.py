"""The one place where an answer of the Kubernetes API becomes an error of ours."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
import websocket
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from meshlab.core.errors import KubeError

FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"'
    r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]*)")?'
)
FORBIDDEN_PATH = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) path "(?P<path>[^"]*)"')
REMEDIES = {
    0: "check that the API server runs and that its address in the kubeconfig is right",
    401: "the credentials are missing or expired: log in again, or refresh the kubeconfig",
    404: "check the name and the namespace; something may have removed the object in the meantime",
    409: "another writer changed the object at the same time; run the step again",
    422: "the object is not valid for this cluster; correct the fields named above",
    429: "the API server is throttling; run the step again, or wait until other clients are done",
}


@contextmanager
def api_errors(doing: str) -> Iterator[None]:
    """Turn whatever the Kubernetes libraries raise inside the block into a KubeError.

    doing: what is being done, in the form "list pods in default"; it becomes "can't list pods in default:
    ...". Retryable are answers that may change by themselves (5xx, 429, a conflict of writers) and broken
    connections.
    """
    try:
        yield
    except ApiException as problem:
        raise _from_answer(doing, problem) from problem
    except ResourceNotFoundError as problem:
        raise KubeError(
            f"can't {doing}: the cluster does not know this kind ({problem})",
            status=404,
            remedy="install its CustomResourceDefinition first, or correct apiVersion and kind",
        ) from problem
    except ConfigException as problem:
        raise KubeError(
            f"can't {doing}: {problem}", remedy="check the kubeconfig file and the name of the context"
        ) from problem
    except (urllib3.exceptions.HTTPError, websocket.WebSocketException, ssl.SSLError) as problem:
        raise _from_connection(doing, problem) from problem
    except (ConnectionError, TimeoutError) as problem:
        raise _from_connection(doing, problem) from problem


def _from_answer(doing: str, problem: ApiException) -> KubeError:
    status, text = problem.status or 0, message_of(problem.body) or problem.reason or "no reason given"
    refused = problem.__context__
    # A stream that was not opened has status 0; what the server said is in the library's cause.
    if isinstance(refused, websocket.WebSocketBadStatusException):
        status = refused.status_code
        text = message_of(refused.resp_body) or refused.args[0].partition(" -+-+- ")[0]
    if status == 0:
        return _from_connection(doing, refused if isinstance(refused, Exception) else problem, text)
    conflict = status == 409 and "AlreadyExists" not in str(problem.body)
    return KubeError(
        f"can't {doing}: {status} {text}",
        status=status,
        remedy=_remedy(status, text),
        retryable=status >= 500 or status == 429 or conflict,
    )


def _from_connection(doing: str, problem: Exception, text: str = "") -> KubeError:
    untrusted = "CERTIFICATE_VERIFY_FAILED" in str(problem)
    return KubeError(
        f"can't {doing}: no answer from the API server ({text or problem})",
        remedy="the kubeconfig belongs to another cluster or an older one at this address: fetch it again"
        if untrusted
        else REMEDIES[0],
        retryable=not untrusted,
    )


def _remedy(status: int, text: str) -> str:
    if status == 403:
        return _permission(text)
    if "failed calling webhook" in text:
        return "the webhook's service does not answer: wait until its pods are ready, or remove the webhook"
    if status >= 500:
        return "the API server had a problem of its own; run the step again and look at its log if it stays"
    return REMEDIES.get(status, "correct the request named above")


def _permission(text: str) -> str:
    if 'User "system:anonymous"' in text:
        return REMEDIES[401]
    path = FORBIDDEN_PATH.search(text)
    if path:
        return f"grant the permission to {path['verb']} path {path['path']} to {path['user']}"
    found = FORBIDDEN.search(text)
    if not found:
        return "an admission rule or a quota of the cluster refuses this object; the message names it"
    group = f".{found['group']}" if found["group"] else ""
    scope = f"in namespace {found['namespace']}" if found["namespace"] else "in the whole cluster"
    return f"grant the permission to {found['verb']} {found['resource']}{group} {scope} to {found['user']}"


def message_of(body: str | bytes | None) -> str:
    """Read the `message` of a Kubernetes Status.

    Returns the text itself where it is no JSON, and nothing without a body.
    """
    text = body.decode(errors="replace") if isinstance(body, bytes) else (body or "")
    try:
        status = json.loads(text)
    except ValueError:
        return text.strip()[:500]
    return str(status.get("message") or "") if isinstance(status, dict) else text[:500]
