"""The generated client, with a deadline on each call, and patience with an API server that restarts."""

from __future__ import annotations

import functools
import json
import os
import re
from typing import Any, cast

import urllib3
from kubernetes import client
from kubernetes.dynamic import DynamicClient

from meshlab.core.errors import WaitTimeout
from meshlab.core.waiting import wait

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 30.0  # seconds, for calls that name no deadline of their own
RESTART_TIMEOUT = 30.0  # seconds, for an API server that has answered before
APPLY = "application/apply-patch+yaml"  # of server-side apply
HALVES = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")  # of one character, as json.dumps writes it
# The library would keep its discovery in a file under /tmp named after the server's address, and a cluster that was
# created anew at the same address would get the old one's kinds. A path that can't exist keeps it in memory.
NO_CACHE_FILE = os.path.join(os.devnull, "none")  # noqa: PTH118 (never opened)


class TimedClient(client.ApiClient):
    """The generated client with a deadline on each call that names none: it has none itself.

    A server that has answered before and now refuses connections restarts, and is waited for: a refused
    request was not begun, so that making it again is safe, whatever it asks for.
    """

    answered = False

    def call_api(
        self,
        method: str,
        url: str,
        header_params: Any = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> Any:
        """Make a call, with a deadline; make it again after a restart of the server."""
        if (header_params or {}).get("Content-Type") == APPLY and not isinstance(body, str | bytes | None):
            body = yaml_of(body).encode()
        timeout = _request_timeout or (CONNECT_TIMEOUT, READ_TIMEOUT)
        ask = functools.partial(super().call_api, method, url, header_params, body, post_params, timeout)
        try:
            answer = ask()
        except urllib3.exceptions.MaxRetryError as problem:
            if not (self.answered and _refused(problem)):
                raise
            try:
                self._wait_restarted()
            except WaitTimeout:
                raise problem from None
            answer = ask()
        self.answered = True
        return answer

    def _wait_restarted(self) -> None:
        """Wait until the server says that it is ready, or that it does not tell us. Raises WaitTimeout."""

        def status() -> int:
            try:
                ready = cast(Any, self.rest_client).request(
                    "GET", f"{self.configuration.host}/readyz", _request_timeout=CONNECT_TIMEOUT
                )
            except (urllib3.exceptions.HTTPError, client.ApiException):
                return 0
            return int(ready.status)

        wait(
            "the API server after its restart",
            status,
            ready=lambda code: code in (200, 401, 403, 404),
            timeout=RESTART_TIMEOUT,
        )


def yaml_of(document: Any) -> str:
    """Write an object as JSON that is YAML, too.

    The library's own JSON is not where a character is beyond U+FFFF: JSON escapes it as two halves, which YAML refuses.
    """
    return HALVES.sub(lambda halves: str(json.loads(f'"{halves[0]}"')), json.dumps(document))


def discovering(api_client: client.ApiClient) -> DynamicClient:
    """Make a client for every kind that the cluster serves; it asks for them, and keeps them in memory only."""
    return cast(DynamicClient, cast(Any, DynamicClient)(api_client, cache_file=NO_CACHE_FILE))


def _refused(problem: urllib3.exceptions.MaxRetryError) -> bool:
    """Whether nobody listened: nothing of the request was sent."""
    cause = problem.reason.__cause__ if problem.reason is not None else None
    return isinstance(problem.reason, urllib3.exceptions.NewConnectionError) and isinstance(
        cause, ConnectionRefusedError
    )
