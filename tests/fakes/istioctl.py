"""An istioctl that only pretends: it answers the commands that it was told about, and refuses every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshlab.core.errors import ProcessError
from meshlab.core.process import Completed
from tests.fakes.programs import Call, FakePrograms


@dataclass(frozen=True)
class Said:
    """What a command answers. until_stopped: nothing, until it is ended by the stop event."""

    stdout: str = ""
    stderr: str = ""
    returncode: int = 0
    until_stopped: bool = False


class FakeIstioctl(FakePrograms):
    """Stands in for meshlab.core.process.Runner.

    answers: first word after the program → what it says; of several answers each once, the last one from
    then on.

    commands: every command line, inputs: what each got on standard input.
    """

    def __init__(self, answers: Mapping[str, Said | Sequence[Said]]) -> None:
        self.answers = {
            word: [said] if isinstance(said, Said) else list(said) for word, said in answers.items()
        }
        super().__init__()
        self.inputs: list[str | None] = []

    def answer(self, call: Call) -> Completed:
        words = call.words
        self.commands.append(words)
        self.inputs.append(call.input)
        if words[1] not in self.answers:
            raise AssertionError(f"FakeIstioctl does not know {words}")
        answers = self.answers[words[1]]
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if said.until_stopped:
            assert call.stop is not None and call.stop.wait(30), f"nobody stopped {words}"
            raise ProcessError(f"{words[0]} was stopped", argv=words, output=said.stderr)
        for line in said.stderr.splitlines():
            if call.on_line:
                call.on_line(line)
        if call.check and said.returncode:
            raise ProcessError(
                f"{words[0]} ended with {said.returncode}",
                argv=words,
                returncode=said.returncode,
                output=said.stderr,
            )
        return Completed(words, said.returncode, said.stdout, said.stderr, 0.1)
