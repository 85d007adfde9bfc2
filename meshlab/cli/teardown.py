"""The command line of the teardown flow: which runs, or everything that has expired; nothing is brought up for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshlab.cli import main as cli
from meshlab.cli.command import Command
from meshlab.cli.flags import Flag, judge, parse
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError
from meshlab.lifecycle.teardown import problems

PROGRAM = "python -m flows.teardown"
FLAGS = (
    Flag("--run", "runs", "run_id", "Take down what this run left; may be repeated.", many=True),
    Flag("--expired", "expired", "", "Clusters of ours in --project that are past their time; a dry run."),
    Flag("--yes", "yes", "", "With --expired: remove what it finds.", also="--delete"),
)


def main(arguments: list[str], *, about: str, load: Callable[[], Callable[..., Any]]) -> int:
    """Run `python -m flows.teardown`.

    Args:
        arguments: The command line, without the program.
        about: The help's description.
        load: Imports the flow and returns it.

    Returns:
        The exit code.
    """
    command = Command(PROGRAM, about, "teardown", decide=lambda words, machine: decide(words, machine, about))
    return cli.main(arguments, command, load)


def decide(arguments: list[str], machine: Machine, about: str) -> tuple[LabConfig, Mapping[str, Any]]:
    """The configuration and the flow's parameters. Raises InputError with every problem; `--help` prints and exits 0."""
    words = parse(arguments, PROGRAM, about, FLAGS)
    config = judge(words, machine, need_cluster=False)
    found = problems(config, machine, words.own["runs"], expired=words.own["expired"])
    if found:
        raise InputError(found)
    return config, words.own
