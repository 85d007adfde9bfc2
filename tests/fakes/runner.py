"""A runner that knows only the commands that it was given."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from meshlab.errors import ProcessError
from meshlab.process import Completed, SystemRunner

Answer = str | int | Callable[[tuple[str, ...]], str]


class FakeRunner:
    """Stands in for meshlab.process.Runner.

    answers: the first words of a command → what it prints (text), the code that it ends with (number), or a
    function of the words that gives the text; the longest match counts. script: what spawned programs do
    instead, for /bin/sh ($1 and on are the words that were asked for). Others are AssertionErrors.
    """

    def __init__(self, answers: Mapping[tuple[str, ...], Answer] | None = None, *, script: str = "") -> None:
        self.answers = dict(answers or {})
        self.script = script
        self.commands: list[tuple[str, ...]] = []
        self.inputs: list[str | None] = []
        self.spawned: list[tuple[str, ...]] = []

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
        known = [start for start in self.answers if words[: len(start)] == start]
        if not known:
            raise AssertionError(f"nobody expected the command {' '.join(words)}")
        self.commands.append(words)
        self.inputs.append(input)
        answer = self.answers[max(known, key=len)]
        if isinstance(answer, int):
            if check and answer:
                raise ProcessError(
                    f"{words[0]} ended with {answer}: ", argv=words, returncode=answer, remedy=remedy
                )
            return Completed(words, answer, "", "", 0.0)
        return Completed(words, 0, answer if isinstance(answer, str) else answer(words), "", 0.0)

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
        if not self.script:
            raise AssertionError(f"nobody expected {' '.join(words)} to be started")
        self.spawned.append(words)
        shell = ["/bin/sh", "-c", self.script, "sh", *words]
        return SystemRunner().spawn(shell, log_file=log_file, cwd=cwd, env=env, new_session=new_session)
