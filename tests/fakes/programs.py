"""What every stand-in for a Runner shares: the one place of the tests that repeats the Runner's signature."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshlab.core.process import Completed


@dataclass(frozen=True)
class Call:
    """A command that was asked for, with all that `Runner.run` and `Runner.spawn` take."""

    words: tuple[str, ...]
    timeout: float = 0.0
    check: bool = True
    input: str | None = None
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    on_line: Callable[[str], None] | None = None
    stop: threading.Event | None = None
    remedy: str = ""
    log_file: Path | None = None
    new_session: bool = True


class FakePrograms:
    """Stands in for meshlab.core.process.Runner. Subclasses say what a command answers; nothing is known by itself.

    commands: every command line that was run, in order.
    """

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []

    def answer(self, call: Call) -> Completed:
        """What a command that ends leaves."""
        raise AssertionError(f"{type(self).__name__} does not know {' '.join(call.words)}")

    def start(self, call: Call) -> subprocess.Popen[bytes]:
        """A program that goes on running."""
        raise AssertionError(f"nobody expected {' '.join(call.words)} to be started")

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float,
        check: bool = True,
        input: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        remedy: str = "",
    ) -> Completed:
        words = tuple(os.fspath(word) for word in argv)
        return self.answer(Call(words, timeout, check, input, cwd, dict(env or {}), on_line, stop, remedy))

    def spawn(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log_file: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        new_session: bool = True,
    ) -> subprocess.Popen[bytes]:
        words = tuple(os.fspath(word) for word in argv)
        return self.start(
            Call(words, cwd=cwd, env=dict(env or {}), log_file=log_file, new_session=new_session)
        )
