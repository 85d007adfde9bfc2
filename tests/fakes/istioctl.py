"""An istioctl that only pretends: it answers the commands that it was told about, and refuses every other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshlab.errors import ProcessError
from meshlab.process import Completed


@dataclass(frozen=True)
class Said:
    """What a command answers. until_stopped: nothing, until it is ended by the stop event."""

    stdout: str = ""
    stderr: str = ""
    returncode: int = 0
    until_stopped: bool = False


class FakeIstioctl:
    """Stands in for meshlab.process.Runner. answers: first word after the program → what it says.

    commands: every command line, inputs: what each got on standard input.
    """

    def __init__(self, answers: Mapping[str, Said]) -> None:
        self.answers = dict(answers)
        self.commands: list[tuple[str, ...]] = []
        self.inputs: list[str | None] = []

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
        self.commands.append(words)
        self.inputs.append(input)
        if words[1] not in self.answers:
            raise AssertionError(f"FakeIstioctl does not know {words}")
        said = self.answers[words[1]]
        if said.until_stopped:
            assert stop is not None and stop.wait(30), f"nobody stopped {words}"
            raise ProcessError(f"{words[0]} was stopped", argv=words, output=said.stderr)
        for line in said.stderr.splitlines():
            if on_line:
                on_line(line)
        if check and said.returncode:
            raise ProcessError(
                f"{words[0]} ended with {said.returncode}",
                argv=words,
                returncode=said.returncode,
                output=said.stderr,
            )
        return Completed(words, said.returncode, said.stdout, said.stderr, 0.1)

    def spawn(self, argv: Sequence[str | os.PathLike[str]], **_: Any) -> Any:
        raise AssertionError(f"FakeIstioctl starts nothing: {argv}")
