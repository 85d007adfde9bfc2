"""Runs the scripts that are made for a pod in a real shell here, with a curl that sends nothing."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from meshlab.app.script import MARK

CURL = """#!/bin/sh
printf '%s ' "$@" >> "$0.log"
echo >> "$0.log"
[ ! -e "$0.slow" ] || sleep 1
cat "$0.answer"
exit "$(cat "$0.code")"
"""
# The script looks for leftovers among all processes; here that must not find the loops of a lab on this
# machine.
TEST_MARK = f"test-{uuid.uuid4().hex}-"


class Shell:
    """A folder with a `curl` that logs its arguments, prints `answer` and ends with `code`."""

    def __init__(self, folder: Path, *, answer: str = "200 0.25", code: int = 0, slow: bool = False) -> None:
        self.curl = folder / "curl"
        self.curl.write_text(CURL)
        self.curl.chmod(0o755)
        (folder / "curl.answer").write_text(answer)
        (folder / "curl.code").write_text(str(code))
        if slow:
            (folder / "curl.slow").touch()
        self.log = folder / "curl.log"
        self.environment: Mapping[str, str] = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a script; its marks of a loop are replaced by those of this test."""
        return subprocess.Popen(
            [word.replace(MARK, TEST_MARK) for word in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(self.environment),
        )

    def requests(self) -> list[str]:
        """The arguments of each curl that was started."""
        return [line.strip() for line in self.log.read_text().splitlines()] if self.log.exists() else []
