"""`python -m meshlab.clusters.gke.credential`: a token for the cluster, as kubectl's exec plugins give it.

Named in the kubeconfigs that we write: istioctl, kubectl and the Python client all ask here, and ask again when the
token has expired. No token is ever on disk, and no plugin must be installed.
Contract: the Kubernetes documentation, "client-go credential plugins".
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import google.auth
from google.auth.credentials import DEFAULT_UNIVERSE_DOMAIN, Credentials
from google.auth.environment_vars import CREDENTIALS
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials as RefreshedCredentials

from meshlab.core.errors import CloudError

# Little is imported: every istioctl and kubectl starts this module.
SCOPE = f"https://www.{DEFAULT_UNIVERSE_DOMAIN}/auth/cloud-platform"
NO_CREDENTIALS = "log in with `gcloud auth application-default login`, or name a key file with GOOGLE_APPLICATION_CREDENTIALS"
# What google-auth raises for a credentials file that is none, or that holds something else than Google writes.
BAD_FILE = (OSError, ValueError, KeyError, TypeError, AttributeError)
# Type of a credentials file → the fields without which it is of no use. Source: google-auth's loaders of each type.
FIELDS = {
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "service_account": ("client_email", "private_key", "token_uri"),
    "external_account": ("audience", "subject_token_type", "token_url", "credential_source"),
    "impersonated_service_account": ("service_account_impersonation_url", "source_credentials"),
}
API_VERSION = "client.authentication.k8s.io/v1beta1"


@contextmanager
def auth_errors(doing: str, *others: type[Exception]) -> Iterator[None]:
    """Turn what google-auth raises inside the block into a CloudError.

    Args:
        doing: What is being done, as in "get a token".
        others: What else it raises there: for a key file that is a folder, or that lacks a field.

    Raises:
        CloudError: `credentials`, or `unavailable` where the server that gives tokens does not answer.
    """
    refused: tuple[type[Exception], ...] = (GoogleAuthError, *others)
    try:
        yield
    except TransportError as problem:
        raise CloudError(
            f"can't {doing}: the server that gives tokens does not answer ({_first_line(problem)})",
            kind="unavailable",
            remedy="see whether this machine reaches it (a proxy? HTTPS_PROXY), then run again",
        ) from problem
    except refused as problem:
        raise CloudError(
            f"can't {doing}: no usable credentials ({wrong_file() or _first_line(problem)})",
            kind="credentials",
            remedy=NO_CREDENTIALS,
        ) from problem


def wrong_file() -> str:
    """Say what is wrong with the file that GOOGLE_APPLICATION_CREDENTIALS names, where google-auth does not.

    Never more of it than the names of fields: it holds secrets.
    """
    from meshlab.config.settings import variables  # only here, where something went wrong

    path = variables().get(CREDENTIALS)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except FileNotFoundError:
        return ""  # google-auth says it
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "is no text"
        return f"{path} can't be read: {reason}"
    except ValueError:
        return f"{path} is no JSON"
    if not isinstance(content, dict):
        return f"{path} holds no JSON object"
    needed = FIELDS.get(str(content.get("type")), ())
    lacking = [each for each in needed if not content.get(each)]
    return f"{path}, of type {content['type']}, lacks {', '.join(lacking)}" if lacking else ""


def _first_line(problem: Exception) -> str:
    """What an error says. google-auth gives some a text and their cause, or a text and the server's whole answer."""
    told = [str(each) for each in problem.args if isinstance(each, str | Exception)] or [str(problem)]
    return ": ".join(line for each in told for line in each.splitlines()[:1]) or type(problem).__name__


def credentials_of(uri: str | None) -> Credentials:
    """Credentials that refresh themselves. uri: of an emulator's tokens; None: application-default credentials.

    Raises CloudError (credentials).
    """
    if uri is not None:
        return RefreshedCredentials(  # type: ignore[no-untyped-call]  # google-auth has no types
            None, refresh_token="emulated", token_uri=uri, client_id="emulated", client_secret="emulated"
        )
    with auth_errors("find credentials", *BAD_FILE):
        found, _ = google.auth.default(scopes=[SCOPE])
    return found


def refreshed(credentials: Credentials) -> Credentials:
    """The same credentials, with a token that is valid now. Raises CloudError (credentials)."""
    with auth_errors("get a token", *BAD_FILE):
        credentials.refresh(Request())  # type: ignore[no-untyped-call]
    return credentials


def exec_credential(credentials: Credentials) -> dict[str, object]:
    """The plugin's answer for credentials with a valid token."""
    status: dict[str, str] = {"token": str(credentials.token)}
    expiry: datetime | None = credentials.expiry  # UTC, without saying so
    if expiry is not None:
        status["expirationTimestamp"] = (
            expiry.replace(tzinfo=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        )
    return {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}


def main(arguments: list[str] | None = None) -> int:
    """Print the credential; 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m meshlab.clusters.gke.credential", description=__doc__)
    parser.add_argument("--token-uri", help="of an emulated API; without it, application-default credentials")
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(exec_credential(refreshed(credentials_of(options.token_uri)))))
    except CloudError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
