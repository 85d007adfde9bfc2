"""The command line of the teardown flow: which runs, or everything that has expired; nothing is brought up for it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from meshlab.cli import main as launch
from meshlab.cli.flags import judge, parse, parser
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, Problem
from meshlab.lifecycle.teardown import problems

PROGRAM = "python -m flows.teardown"


def main(arguments: list[str], *, about: str, load: Callable[[], Callable[..., Any]]) -> int:
    """Run `python -m flows.teardown`.

    Args:
        arguments: The command line, without the program.
        about: The help's description.
        load: Imports the flow and returns it.

    Returns:
        The exit code.
    """
    return launch.main(
        arguments,
        program=PROGRAM,
        about=about,
        load=load,
        flow="teardown",
        decide=lambda words, machine: decide(words, machine, about),
    )


def decide(arguments: list[str], machine: Machine, about: str) -> tuple[LabConfig, Mapping[str, Any]]:
    """The configuration and the flow's parameters. Raises InputError with every problem; `--help` prints and exits 0."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    _add(own)
    shown = parser(PROGRAM, about)
    _add(shown)  # for --help, and so that a misspelled flag is compared with these too
    try:
        chosen, rest = own.parse_known_args(arguments)
    except argparse.ArgumentError as wrong:
        raise InputError(
            [Problem(wrong.argument_name or "command line", wrong.message, "see --help")]
        ) from None
    found: list[Problem] = []
    try:
        config = judge(parse(rest, shown), machine, need_cluster=False)
    except InputError as problem:
        found += problem.problems
        config = LabConfig()
    else:
        found += problems(config, machine, chosen.run, expired=chosen.expired)
    if found:
        raise InputError(found)
    return config, {"runs": tuple(chosen.run), "expired": chosen.expired, "yes": chosen.yes}


def _add(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--run",
        metavar="RUN_ID",
        action="append",
        default=[],
        help="Take down what this run left; may be repeated.",
    )
    to.add_argument(
        "--expired",
        action="store_true",
        help="Clusters of ours in --project that are past their time; a dry run.",
    )
    to.add_argument("--yes", "--delete", action="store_true", help="With --expired: remove what it finds.")
