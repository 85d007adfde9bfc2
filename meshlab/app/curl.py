"""Builds curl's words for the rounds (once.py) and loops (loop.py), and reads the line that tells how a request ended.

    R <number> <status> <seconds> <exit code>

Status is HTTP's ("000": none). Scripts may add words of their own at the line's end.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

TOLD = "%{http_code} %{time_total}"  # curl's part of the line


@dataclass(frozen=True)
class Answer:
    """One finished request: its number, HTTP status ("000": none), time in seconds, curl's exit code."""

    number: int
    status: str
    seconds: float
    exit_code: int


def command(*, timeout: float, told: str = TOLD, options: Sequence[str] = ()) -> str:
    """Build curl's command line for a shell script; the URL is to follow.

    Args:
        timeout: Seconds for the request.
        told: What curl writes after the body (its `--write-out`).
        options: Further arguments of curl.

    Returns:
        The words, quoted for a POSIX shell.
    """
    return shlex.join(["curl", "-sS", "--max-time", f"{timeout:g}", "-w", told, *options])


def parse_answer(line: str) -> Answer | None:
    """The request of an R line; None when the line was cut before the request was done, or is no R line."""
    words = line.split()
    if len(words) != 5 or words[0] != "R":
        return None
    try:
        return Answer(int(words[1]), words[2], float(words[3]), int(words[4]))
    except ValueError:
        return None
