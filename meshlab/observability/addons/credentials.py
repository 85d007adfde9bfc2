"""Credentials for Prometheus, tracing, Grafana and Kiali: a short document, from a variable or a Prefect Secret block.

The document is the word `google` (Google's application-default credentials, for its managed Prometheus), or YAML or
JSON: {bearer: TOKEN}, {username: NAME, password: WORD}, {client_certificate: …, client_key: …}, and in each, or alone,
{ca: …} and {server_name: …}. Certificates and keys are PEM, or the path of a file with it.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
import yaml
from requests.auth import AuthBase, HTTPBasicAuth

from meshlab.core.access import Access
from meshlab.core.errors import InputError, Problem, QueryError
from meshlab.core.redaction import register

GOOGLE = "google"
FIELDS = ("bearer", "username", "password", "client_certificate", "client_key", "ca", "server_name")
PAIRS = (("username", "password"), ("client_certificate", "client_key"))
REMEDY = (
    "give the word google, or one of {bearer: …}, {username: …, password: …}, {client_certificate: …, client_key: …}, "
    "with {ca: …} and {server_name: …} where they are needed"
)


def read_access(where: str, document: str) -> Access:
    """Read credentials; every secret in them is hidden from now on.

    Args:
        where: The variable or the block that holds them, for messages.
        document: Its value.

    Returns:
        How the server is asked.

    Raises:
        InputError: They can't be understood; no message repeats a value.
    """
    if document.strip() == GOOGLE:
        return Access(kind=GOOGLE, auth=GoogleToken())
    register(document)
    try:
        given = yaml.safe_load(document)
    except yaml.YAMLError:
        given = None
    if not isinstance(given, Mapping) or not given:
        raise _wrong(where, "it is no document of credentials")
    values = {str(name): str(value) for name, value in given.items()}
    register(*(values.get(name) for name in ("bearer", "password", "client_key")))
    what = _problems(values)
    if what:
        raise _wrong(where, "; ".join(what))
    auth: AuthBase | None = None
    kinds = []
    if "bearer" in values:
        kinds, auth = ["bearer"], BearerToken(values["bearer"])
    elif "username" in values:
        kinds, auth = ["basic"], HTTPBasicAuth(values["username"], values["password"])
    if "client_certificate" in values:
        kinds.append("client certificate")
    return Access(
        kind=", ".join(kinds) or "none",
        auth=auth,
        tls=_tls(where, values),
        server_name=values.get("server_name", ""),
    )


class BearerToken(AuthBase):
    """Sends a token that does not change."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token into a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class GoogleToken(AuthBase):
    """Sends a token of the application-default credentials, and gets a new one before it ends.

    Args:
        find: Finds the credentials; those of the machine where not given.
    """

    def __init__(self, find: Callable[[], Any] | None = None) -> None:
        self._find = find or _of_this_machine
        self._credentials: Any = None
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put a token that holds into a request. Raises QueryError where there is none to be had."""
        from google.auth.exceptions import GoogleAuthError  # slow to import, and few runs need it
        from google.auth.transport.requests import Request

        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = self._find()
                if not self._credentials.valid:
                    self._credentials.refresh(Request())
                    register(self._credentials.token)
            except (GoogleAuthError, ValueError, OSError) as problem:
                raise QueryError(
                    f"Google's application-default credentials give no token: {problem}",
                    remedy="log in: gcloud auth application-default login; or name a key file in "
                    "GOOGLE_APPLICATION_CREDENTIALS",
                    retryable=False,
                ) from problem
            request.headers["Authorization"] = f"Bearer {self._credentials.token}"
        return request


def _of_this_machine() -> Any:
    import google.auth
    from google.auth.credentials import DEFAULT_UNIVERSE_DOMAIN

    scope = f"https://www.{DEFAULT_UNIVERSE_DOMAIN}/auth/monitoring.read"
    return google.auth.default(scopes=[scope])[0]


def _problems(values: Mapping[str, str]) -> list[str]:
    unknown = sorted(set(values) - set(FIELDS))
    found = (
        [f"it has fields that nobody reads ({len(unknown)}); known are {', '.join(FIELDS)}"]
        if unknown
        else []
    )
    for one, other in PAIRS:
        if (one in values) != (other in values):
            found.append(f"{one} and {other} go together")
    if "bearer" in values and "username" in values:
        found.append("a token and a password are two ways: give one")
    return found + [f"{name} is empty" for name in FIELDS if name in values and not values[name].strip()]


def _tls(where: str, values: Mapping[str, str]) -> ssl.SSLContext | None:
    """The context of a client certificate or of an authority of its own, None where neither is given."""
    if "ca" not in values and "client_certificate" not in values:
        return None
    try:
        pem = {
            name: _pem(values[name]) for name in ("ca", "client_certificate", "client_key") if name in values
        }
        register(pem.get("client_key"))
        context = ssl.create_default_context(cadata=pem.get("ca"))
        if "client_certificate" in pem:
            # The library reads a key from a file only: one that nobody else may read, and that is gone at once.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(f"{pem['client_certificate']}\n{pem['client_key']}\n")
                file.flush()
                context.load_cert_chain(file.name)
    except (OSError, ValueError) as problem:  # ssl.SSLError is an OSError
        cause = (
            problem.strerror if isinstance(problem, OSError) and problem.strerror else type(problem).__name__
        )
        raise _wrong(where, f"its certificates can't be used: {cause}") from None
    return context


def _pem(value: str) -> str:
    return value if "-----BEGIN" in value else Path(value).expanduser().read_text(encoding="utf-8")


def _wrong(where: str, what: str) -> InputError:
    return InputError([Problem(where, what, REMEDY)])
