"""Putting a run's report where people are: a folder, Google's Cloud Storage, S3, and what else fsspec writes to.

Credentials are those that the store's own library finds (environment, files, metadata server); none is a setting, and
none is in an error.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from meshlab.core.errors import MeshlabError, Problem
from meshlab.core.redaction import redact

SETTING = "report.publish"
TRY_SECONDS, SEND_SECONDS = 60.0, 300.0  # for one small object; for the run's files together
LONGEST = 300  # characters of a library's error
BROWSED = "https://storage.cloud.google.com/"  # asks who is there, then shows an object
# Packages that are there only where an extra of ours was asked for.
EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3", "s3a": "s3"}
# botocore alone would try for minutes.
OPTIONS: dict[str, dict[str, Any]] = {
    name: {"config_kwargs": {"connect_timeout": 10, "read_timeout": 20, "retries": {"max_attempts": 2}}}
    for name in ("s3", "s3a")
}


def folder_of(address: str) -> Path | None:
    """Return the folder that a `file://` address names; None for any other address."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme in ("file", "local") else None


def publish_problems(address: str) -> list[Problem]:
    """Try to write below an address that is no folder: an empty object is put there and taken away again.

    Args:
        address: As fsspec takes it: s3://bucket/path, gs://bucket/path, ….

    Returns:
        What is wrong with it.
    """
    probe = f"{address.rstrip('/')}/.meshlab-{secrets.token_hex(4)}"

    def attempt(store: Any) -> None:
        store.pipe_file(probe, b"")
        try:
            store.rm_file(probe)
        except Exception:  # noqa: BLE001 - who may only add can publish all the same; an empty object stays
            return

    try:
        _within(TRY_SECONDS, address, attempt)
    except MeshlabError as problem:
        return [Problem(f"{SETTING} {address}", problem.message, problem.remedy)]
    return []


def publish(directory: Path, names: Iterable[str], address: str, run_id: str) -> None:
    """Put files of a run under its id; what is there of the same name is replaced.

    Args:
        directory: The run's.
        names: Of the files.
        address: As in the setting `report.publish`.
        run_id: Of the run.

    Raises:
        MeshlabError: They can't be written, or that took too long.
    """

    def send(store: Any) -> None:
        for name in names:
            store.pipe_file(published_at(address, run_id, name), (directory / name).read_bytes())

    _within(SEND_SECONDS, address, send)


def published_at(address: str, run_id: str, name: str = "report.html") -> str:
    """Say where a file of a run is published.

    Args:
        address: As in the setting `report.publish`.
        run_id: Of the run.
        name: Of the file.

    Returns:
        Its address.
    """
    return f"{address.rstrip('/')}/{run_id}/{name}"


def opened_at(address: str) -> str:
    """Return what a browser opens to show a published file: of Google's store a page, of others the address itself."""
    scheme, _, place = address.partition("://")
    return f"{BROWSED}{place}" if scheme in ("gs", "gcs") else address


def _store(address: str) -> Any:
    import fsspec  # some way to import, and few runs publish

    scheme = urlsplit(address).scheme
    try:
        made = fsspec.get_filesystem_class(scheme)
    except ValueError as problem:
        known = "file://, gs:// and s3:// are usual"
        raise MeshlabError(f"fsspec knows no store {scheme}://", remedy=known) from problem
    except ImportError as problem:
        extra = (
            f"this project's extra {EXTRAS[scheme]} (requirements-dev.lock has it)"
            if scheme in EXTRAS
            else "the package that it names"
        )
        raise MeshlabError(f"a package is missing: {problem}", remedy=f"install {extra}") from problem
    if folder_of(address) is not None:
        return made(auto_mkdir=True)
    return made(skip_instance_cache=True, **OPTIONS.get(scheme, {}))


def _within(seconds: float, address: str, work: Callable[[Any], None]) -> None:
    """Do the work in a thread of its own. Raises MeshlabError for whatever a store's library raises, and when it is late."""
    raised: list[Exception] = []
    store = _store(address)

    def guarded() -> None:
        try:
            work(store)
        except Exception as problem:  # noqa: BLE001 - each store's library has errors of its own
            raised.append(problem)

    thread = threading.Thread(target=guarded, name="publish", daemon=True)
    thread.start()
    thread.join(seconds)
    remedy = "see that the place exists, that credentials for it are in the environment, and that they may write there"
    if thread.is_alive():
        raise MeshlabError(f"it did not answer within {seconds:g} s", remedy=remedy, retryable=True)
    if raised:
        text = redact(" ".join(str(raised[0]).split()))[:LONGEST]
        # Not chained: a library's own error may hold what it was given.
        raise MeshlabError(f"it can't be written: {type(raised[0]).__name__}: {text}", remedy=remedy)
