"""`python -m benchmarks.watched FILE MODULE ARGUMENT…`: runs a flow, and notes each call of the API and its memory.

A line a note: seconds since the epoch, `call` or `memory`, and the method and path, or the bytes of this process.
"""

from __future__ import annotations

import json
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psutil

from meshlab.kube.timed import TimedClient

EVERY = 0.2  # seconds between two looks at the memory


class Notes:
    """Writes notes to a file; several threads may."""

    def __init__(self, sink: IO[str]) -> None:
        self._sink, self._lock = sink, threading.Lock()

    def note(self, kind: str, what: Any) -> None:
        """Write one note.

        Args:
            kind: call, or memory.
            what: Of it.
        """
        with self._lock:
            self._sink.write(json.dumps([round(time.time(), 3), kind, what]) + "\n")


def watch_calls(notes: Notes) -> None:
    """Note every call that the client of the Kubernetes API makes from now on in this process."""
    original = TimedClient.call_api

    def noting(self: TimedClient, method: str, url: str, *words: Any, **named: Any) -> Any:
        notes.note("call", f"{method} {urlsplit(url).path}")
        return original(self, method, url, *words, **named)

    TimedClient.call_api = noting  # type: ignore[method-assign]


def watch_memory(notes: Notes, ended: threading.Event) -> None:
    """Note this process's resident memory again and again, until the event is set."""
    process = psutil.Process()
    while not ended.wait(EVERY):
        notes.note("memory", process.memory_info().rss)


def main(words: list[str]) -> None:
    """Run the module under watch; it ends as the module ends."""
    file, module, *arguments = words
    ended = threading.Event()
    with Path(file).open("w", encoding="utf-8") as sink:
        notes = Notes(sink)
        watch_calls(notes)
        memory = threading.Thread(target=watch_memory, args=(notes, ended), daemon=True)
        memory.start()
        sys.argv = [module, *arguments]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        finally:
            ended.set()
            memory.join()


if __name__ == "__main__":
    main(sys.argv[1:])
