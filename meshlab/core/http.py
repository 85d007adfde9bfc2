"""One request with one deadline: how the addons that speak JSON (Jaeger, Kiali, Grafana) are asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import urllib3

from meshlab.core.access import OPEN, Access
from meshlab.core.errors import QueryError, ShutOutError

CHUNK = 64 * 1024
LARGEST = 64 * 1024 * 1024  # bytes of an answer; more is no answer to any question of ours
LET_IN = "allow anonymous access, or give credentials: MESH_LAB_…_CREDENTIALS (docs/existing-clusters.md)"
TAIL = 200  # characters of a refusal that an error repeats


@dataclass(frozen=True)
class Answer:
    """What came back. status: HTTP status; text: the whole body."""

    status: int
    text: str


class Getter:
    """Sends GETs, and questions that need a body, to one server.

    It is safe for several threads: each has its own connection. Every method raises QueryError.

    Args:
        url: Of the server.
        timeout: Seconds for a whole answer, first byte to last: the library's own timeout starts anew with every byte, so
            a server that drips would never be given up.
        name: What errors call the server.
        remedy: Of the errors.
        why: Asked when there is no connection; what stands between this machine and the server may know the cause.
        access: Credentials, and whom to trust.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        name: str,
        remedy: str,
        why: Callable[[], str] | None = None,
        access: Access = OPEN,
    ) -> None:
        self.url = url.rstrip("/")
        self.name, self.remedy, self._why = name, remedy, why or (lambda: "")
        self._timeout, self._access = timeout, access
        self._local = threading.local()

    def text(self, path: str, params: Mapping[str, str | int] | None = None) -> str:
        """Get a page.

        Args:
            path: After the server's URL.
            params: The query's.

        Returns:
            The body of an answer with status 200.

        Raises:
            QueryError: There is no answer, or another status than 200. A 4xx can't heal, everything else may.
        """
        return self._accepted(self.get(path, params), path)

    def json(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Get a JSON document.

        Args:
            path: After the server's URL.
            params: The query's.

        Returns:
            The document.

        Raises:
            QueryError: There is no answer, another status than 200, or no JSON. A 4xx can't heal,
                everything else may.
        """
        return self.document(self.get(path, params), path)

    def document(self, answer: Answer, what: str) -> Any:
        """Read an answer as a JSON document.

        Args:
            answer: The answer.
            what: What was asked for.

        Returns:
            The document.

        Raises:
            QueryError: As for `json`.
        """
        text = self._accepted(answer, what)
        try:
            return json.loads(text)
        except ValueError as problem:
            raise QueryError(
                f"{self.url} answered {what} with no JSON: {text[:60]!r}",
                remedy=f"check that it is {self.name} that listens there, its base path, and that it needs no login",
            ) from problem

    def refusal(self, what: str, status: int, told: str) -> QueryError:
        """Make the error of a status: the question is wrong (4xx, it can't heal), or the server does not answer.

        Args:
            what: What was asked for.
            status: HTTP status.
            told: What the server says.

        Returns:
            The error, to be raised.
        """
        wrong = 400 <= status < 500 and status not in (408, 429)
        remedy = "correct the question" if wrong else self.remedy
        text = f"{self.name} at {self.url} answered {what} with {status}: {told}"
        if status in (401, 403):
            return ShutOutError(text, remedy=LET_IN)
        return QueryError(text, remedy=remedy, retryable=not wrong)

    @contextmanager
    def reading(self, what: str, *, remedy: str = "", retryable: bool = True) -> Iterator[None]:
        """Turn what an answer of another form raises, while it is read, into a QueryError.

        Args:
            what: What was asked for.
            remedy: What to do; the server's own remedy by default.
            retryable: Whether trying again may help.

        Yields:
            Nothing.

        Raises:
            QueryError: The answer is none of this kind of server.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
            raise QueryError(
                f"{self.url} answered {what} in a form that is none of {self.name}'s: {problem!r}",
                remedy=remedy or self.remedy,
                retryable=retryable,
            ) from problem

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Answer:
        """Send a GET.

        Args:
            path: After the server's URL.
            params: The query's.

        Returns:
            The answer, whatever its status.

        Raises:
            QueryError: There is no answer.
        """
        return self._send("GET", path, params=dict(params or {}))

    def post(self, path: str, document: Mapping[str, Any]) -> Answer:
        """Send a POST of a JSON document.

        Args:
            path: After the server's URL.
            document: The body.

        Returns:
            The answer, whatever its status.

        Raises:
            QueryError: There is no answer.
        """
        return self._send("POST", path, json=dict(document))

    def _accepted(self, answer: Answer, what: str) -> str:
        if answer.status != 200:
            raise self.refusal(what, answer.status, _said(answer.text))
        return answer.text

    def _send(self, method: str, path: str, **what: Any) -> Answer:
        deadline = time.monotonic() + self._timeout
        try:
            with self._session().request(
                method, self.url + path, timeout=self._timeout, stream=True, **what
            ) as response:
                return Answer(response.status_code, self._body(response, deadline, path))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as problem:
            cause = self._why() or str(problem)
            raise QueryError(
                f"{self.name} at {self.url} can't be asked for {path}: {cause}", remedy=self.remedy
            ) from problem

    def _body(self, response: requests.Response, deadline: float, path: str) -> str:
        parts = bytearray()
        while part := response.raw.read1(CHUNK, decode_content=True):
            parts += part
            if time.monotonic() > deadline:
                raise QueryError(
                    f"{self.name} at {self.url} did not end its answer to {path} within {self._timeout:g} s",
                    remedy=self.remedy,
                )
            if len(parts) > LARGEST:
                raise QueryError(
                    f"{self.name}'s answer to {path} is larger than {LARGEST} bytes",
                    remedy="ask for less: a shorter time, or fewer traces",
                    retryable=False,
                )
        return parts.decode("utf-8", errors="replace")

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = self._access.session()
        session: requests.Session = self._local.session
        return session


def _said(text: str) -> str:
    """The message in an error's body: Jaeger's `errors[].msg`, Kiali's `error`, Grafana's `message`, else its beginning."""
    try:
        document = json.loads(text)
    except ValueError:
        return text[:TAIL].strip() or "nothing"
    if isinstance(document, dict):
        if isinstance(document.get("errors"), list):
            return "; ".join(str(each.get("msg", each)) for each in document["errors"])[:TAIL]
        if message := document.get("error") or document.get("message"):
            return str(message)[:TAIL]
    return text[:TAIL].strip()
