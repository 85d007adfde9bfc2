"""A runner that knows only the commands that it was given."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping

from meshlab.core.errors import ProcessError
from meshlab.core.process import Completed, SystemRunner
from tests.fakes.programs import Call, FakePrograms

Answer = str | int | Callable[[tuple[str, ...]], str]


class FakeRunner(FakePrograms):
    """Stands in for meshlab.core.process.Runner.

    answers: the first words of a command → what it prints (text), the code that it ends with (number), or a
    function of the words that gives the text; the longest match counts. script: what spawned programs do
    instead, for /bin/sh ($1 and on are the words that were asked for). Others are AssertionErrors.
    """

    def __init__(self, answers: Mapping[tuple[str, ...], Answer] | None = None, *, script: str = "") -> None:
        self.answers = dict(answers or {})
        self.script = script
        super().__init__()
        self.inputs: list[str | None] = []
        self.spawned: list[tuple[str, ...]] = []

    def answer(self, call: Call) -> Completed:
        words = call.words
        known = [start for start in self.answers if words[: len(start)] == start]
        if not known:
            raise AssertionError(f"nobody expected the command {' '.join(words)}")
        self.commands.append(words)
        self.inputs.append(call.input)
        answer = self.answers[max(known, key=len)]
        if isinstance(answer, int):
            if call.check and answer:
                raise ProcessError(
                    f"{words[0]} ended with {answer}: ", argv=words, returncode=answer, remedy=call.remedy
                )
            return Completed(words, answer, "", "", 0.0)
        return Completed(words, 0, answer if isinstance(answer, str) else answer(words), "", 0.0)

    def start(self, call: Call) -> subprocess.Popen[bytes]:
        words = call.words
        if not self.script:
            raise AssertionError(f"nobody expected {' '.join(words)} to be started")
        self.spawned.append(words)
        shell = ["/bin/sh", "-c", self.script, "sh", *words]
        assert call.log_file is not None
        return SystemRunner().spawn(
            shell, log_file=call.log_file, cwd=call.cwd, env=call.env, new_session=call.new_session
        )
