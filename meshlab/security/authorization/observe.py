"""Real requests, each told apart: all of one client's in one exec, one curl and one connection per service.

The requests go to curl as a configuration on its standard input, so no token is in a command line, a process
list or an error message.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from meshlab.app.source import Source
from meshlab.core.address import host_port
from meshlab.core.errors import ExecError
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod
from meshlab.security.authorization.cases import Case, Client

RBAC_BODY = "RBAC: access denied"  # Envoy's filter: source/extensions/filters/http/rbac
TOKEN_BODY = ("Jwt", "Jwks")  # how every answer of Envoy's jwt_authn begins
AUDIENCE_BODY = "Audiences in Jwt are not allowed"
PROXY_503 = ("upstream connect error", "no healthy upstream")
RESET = (35, 52, 55, 56)  # curl's exit codes: TLS handshake, empty reply, send error, receive error
REQUEST_TIMEOUT = 10  # seconds
BODY = json.dumps(
    {"Reviewer1": 5, "Reviewer2": 4}
)  # what Bookinfo's ratings hold anyway: a POST changes nothing


class Kind(StrEnum):
    """What a request met."""

    ANSWERED = "answered"  # by the application
    NOT_FOUND = "404"  # by the application, or by a proxy without a route
    RBAC = "403 RBAC"
    TOKEN = "401 JWT"
    AUDIENCE = "403 JWT"
    RESET = "reset"
    UNAVAILABLE = "503"
    FAILED = "no answer"  # a name that does not resolve, a refused connection, a deadline


@dataclass(frozen=True)
class Observation:
    """One answer. status: 0 without one. exit_code: curl's. body: its first 80 characters."""

    kind: Kind
    status: int
    exit_code: int = 0
    body: str = ""

    @property
    def text(self) -> str:
        """As a cell shows it."""
        if self.kind is Kind.ANSWERED:
            return str(self.status)
        return f"{self.kind} (curl {self.exit_code})" if self.kind is Kind.FAILED else str(self.kind)

    @property
    def reached(self) -> bool:
        """Whether the application answered."""
        return self.kind in (Kind.ANSWERED, Kind.NOT_FOUND)


@dataclass(frozen=True)
class Ask:
    """One request: a case, the URL, and the secret that it carries, if any."""

    case: Case
    url: str
    bearer: str | None = None

    def __repr__(self) -> str:
        return f"Ask({self.case}, {self.url})"


def observe(
    kube: Kube, sources: Mapping[str, Source], asks: Sequence[Ask], *, timeout: float = 120
) -> list[tuple[Case, Observation]]:
    """Send every request, in order for each client and the clients side by side; answers in the order of `asks`.

    sources: client → pod that sends. timeout: seconds for all of a client's. Raises ExecError, KubeError.
    """
    by_client: dict[str, list[tuple[int, Ask]]] = {}
    for index, ask in enumerate(asks):
        by_client.setdefault(ask.case.client, []).append((index, ask))
    found: dict[int, Observation] = {}

    def send(client: str) -> list[tuple[int, Observation]]:
        own = by_client[client]
        answers = _send(kube, sources[client], [ask for _, ask in own], timeout)
        return [(index, answer) for (index, _), answer in zip(own, answers, strict=True)]

    with ThreadPoolExecutor(max_workers=max(1, len(by_client)), thread_name_prefix="authz") as pool:
        for answers in pool.map(send, by_client):
            found.update(answers)
    return [(ask.case, found[index]) for index, ask in enumerate(asks)]


def url_of(case: Case, client: Client, namespace: str, port: int) -> str:
    """Where a client asks: the service by its name, or the gateway."""
    address = client.through or host_port(f"{case.service}.{namespace}.svc", port)
    return f"http://{address}{case.path}"


def configuration(asks: Sequence[Ask], marker: str) -> str:
    """Write what curl reads.

    After each answer's body a line `<marker> <index> <status> <exit code>` follows.

    Args:
        asks: The requests.
        marker: A text that no body holds.

    Returns:
        The configuration, secrets included.
    """
    blocks = []
    for index, ask in enumerate(asks):
        lines = [
            f"url = {_quoted(ask.url)}",
            f"request = {ask.case.method}",
            "path-as-is\ngloboff\nsilent\nshow-error",
            f"max-time = {REQUEST_TIMEOUT}",
            f'write-out = "\\n{marker} {index} %{{http_code}} %{{exitcode}}\\n"',
        ]
        if ask.case.method == "POST":
            lines += [f"data = {_quoted(BODY)}", 'header = "Content-Type: application/json"']
        if ask.bearer is not None:
            lines.append(f"header = {_quoted(f'Authorization: Bearer {ask.bearer}')}")
        blocks.append("\n".join(lines))
    return "\nnext\n".join(blocks) + "\n"


def parse_answers(text: str, marker: str, count: int) -> list[Observation]:
    """Cut the output of curl at the markers. Raises ExecError when an answer is missing or out of order."""
    pieces = re.split(rf"\n{re.escape(marker)} (\d+) (\d+) (\d+)\n", text)
    found = [
        classify(int(status), int(code), body)
        for body, index, status, code in zip(
            pieces[0::4], pieces[1::4], pieces[2::4], pieces[3::4], strict=False
        )
    ]
    if [int(index) for index in pieces[1::4]] != list(range(count)):
        raise ExecError(
            f"{len(found)} of {count} requests reported back",
            remedy="check that the container has curl 7.75 or newer, and was not restarted",
        )
    return found


def classify(status: int, exit_code: int, body: str) -> Observation:
    """Tell a proxy's refusal from an application's answer."""
    start = body.strip()[:80]
    if exit_code or not status:
        kind = Kind.RESET if exit_code in RESET else Kind.FAILED
    elif status == 403 and start == RBAC_BODY:
        kind = Kind.RBAC
    elif status == 403 and start.startswith(AUDIENCE_BODY):
        kind = Kind.AUDIENCE
    elif status == 401 and start.startswith(TOKEN_BODY):
        kind = Kind.TOKEN
    elif status == 503 and start.startswith(PROXY_503):
        kind = Kind.UNAVAILABLE
    elif status == 404:
        kind = Kind.NOT_FOUND
    else:
        kind = Kind.ANSWERED
    return Observation(kind, status, exit_code, start)


def _send(kube: Kube, source: Source, asks: Sequence[Ask], timeout: float) -> list[Observation]:
    marker = f"@@{secrets.token_hex(8)}"
    done = run_in_pod(
        kube,
        source.namespace,
        source.pod,
        source.container,
        ["curl", "--config", "-"],
        timeout=timeout,
        stdin=configuration(asks, marker),
    )  # curl's own return code is the last request's
    return parse_answers(done.stdout, marker, len(asks))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
