"""What the command line of the upgrade flow judges beside the settings, and the question of --ask on a terminal."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from meshlab.cli.flags import Flag
from meshlab.config.settings import LabConfig, Provider
from meshlab.core.errors import Problem

PROVIDERS: tuple[Provider, ...] = ("local", "existing")
ASK = Flag("--ask", "ask", "", "Stop after the first namespace, and ask whether the others follow.")
LOOK_EVERY = 1.0  # seconds between two looks at what may end the wait for an answer
ANSWER_WITHIN = 3600.0  # seconds; without an answer the upgrade is rolled back


def problems(config: LabConfig) -> list[Problem]:
    """Find what keeps these settings from an upgrade."""
    if config.scope == "mesh":
        return []
    what = "an upgrade changes the whole mesh, which this run may not"
    return [Problem(f"--cluster {config.cluster}", what, "allow it with --allow-changes")]


def judge(config: LabConfig, chosen: Mapping[str, Any]) -> list[Problem]:
    """Judge a command line.

    Args:
        config: The settings of the run.
        chosen: The flow's own parameters.

    Returns:
        What is wrong.
    """
    found = problems(config)
    if chosen.get("ask") and not sys.stdin.isatty():
        found.append(Problem("--ask", "needs a terminal to ask on", "leave it out, or run a deployment"))
    return found


def confirm(
    question: str,
    answers: TextIO,
    *,
    timeout: float = ANSWER_WITHIN,
    check: Callable[[], None] = lambda: None,
) -> str:
    """Ask on the terminal.

    Args:
        question: What is asked.
        answers: Where the answer is read.
        timeout: Seconds until no answer means no.
        check: Called each second until there is an answer; what it raises ends the wait.

    Returns:
        Why it is a no; "" for a yes.
    """
    Console(stderr=True).print(Text(f"{question} [y/N] "), soft_wrap=True)
    until = time.monotonic() + timeout
    while not select.select([answers], [], [], max(0.0, min(LOOK_EVERY, until - time.monotonic())))[0]:
        check()
        if time.monotonic() >= until:
            return f"nobody answered within {timeout:.0f} s"
    line = answers.readline()
    if not line:
        return "there is no terminal to answer on"
    answer = line.strip().lower()
    return "" if answer in ("y", "yes") else f"the answer was {answer or 'no'}"
