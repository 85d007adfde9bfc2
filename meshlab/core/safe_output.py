"""Standard output that does not end a run: a log on a full disk, or a reader that went away (`| head`)."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import IO, Any

log = logging.getLogger(__name__)


class SafeOutput:
    """A text stream whose writes never raise OSError: what finds no room stays in its buffer, or is lost.

    Everything else is the stream's own.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._told = False

    def write(self, text: str) -> int:
        """Write, or say once in the log why not."""
        try:
            return self._stream.write(text)
        except OSError as problem:
            self._tell(problem)
            return len(text)

    def flush(self) -> None:
        """Flush; the next one tries again what found no room."""
        try:
            self._stream.flush()
        except OSError as problem:
            self._tell(problem)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _tell(self, problem: OSError) -> None:
        if not self._told:
            self._told = True
            log.warning("the output can't be written, and the run goes on: %s", problem.strerror)


def flush_output(*streams: IO[str]) -> None:
    """Flush streams for the last time; one that can't be is given up. Python would turn the exit code into 120."""
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):  # a stream without a descriptor
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
                stream.flush()
