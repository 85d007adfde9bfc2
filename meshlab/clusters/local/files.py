"""Locks on files, the end of a log, a file's checksum."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def locked(file: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock on a file; the kernel frees it when this process ends.

    Args:
        file: The lock. It and its folder are made where they are missing.
        shared: Whether others may hold it shared at the same time.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def try_lock(handle: IO[Any]) -> bool:
    """Take an advisory lock on an open file without waiting; returns whether it was free."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def tail(file: Path, length: int = 2000) -> str:
    """Return the last `length` bytes of a log as text, "" without one."""
    try:
        with file.open("rb") as source:
            source.seek(max(0, file.stat().st_size - length))
            return source.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
