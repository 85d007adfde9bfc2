"""A flow's command line judged, and its flow run.

Little is imported before that, so that `--help` and bad input are answered at once: `meshlab.cli.launch` does the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from meshlab.cli.command import Asked, Command
from meshlab.cli.flags import PLAN, RESUME, complain, judge, parse, read_settings, take_again
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.environment import mark_children, quieten_prefect
from meshlab.core.errors import InputError
from meshlab.core.redaction import guard_logging


def main(arguments: list[str], command: Command, load: Callable[[], Callable[..., Any]]) -> int:
    """Run a flow from its command line.

    Args:
        arguments: The command line, without the program.
        command: The flow's command.
        load: Imports the flow (and Prefect with it) and returns it; called when the cluster comes up already.

    Returns:
        The exit code.
    """
    asked = read_command_line(command, arguments)
    from meshlab.cli.launch import run_flow

    return run_flow(command, asked, load)


def read_command_line(command: Command, arguments: list[str]) -> Asked:
    """Judge a command line. Exits with 2, every problem named, before anything is touched, when it is bad.

    Exits with 0 after --plan.

    Args:
        command: The flow's command.
        arguments: The command line, without the program.

    Returns:
        What it asks for.
    """
    machine = Machine.here()
    guard_logging()
    quieten_prefect()
    me = psutil.Process()
    mark_children(me.pid, me.create_time())
    try:
        _judge_credentials(machine)
        if command.decide is not None:
            config, chosen = command.decide(arguments, machine)
            return Asked(config, machine, chosen)
        own = [*command.own, *(RESUME if command.resumable else ()), *(PLAN if command.plannable else ())]
        words = parse(arguments, command.program, command.about, own)
        again = take_again(words)
        if words.own.pop("plan", False):
            from meshlab.cli.plan import show

            show(words, machine, resumes=again is not None)
            sys.exit(0)
        if again is None:
            config = judge(words, machine, providers=command.providers)
            _judge_own(command, config, words.own)
            return Asked(config, machine, words.own)
        from meshlab.cli import resume as resuming

        run, kept = resuming.kept_settings(read_settings(words), again, command.flow)
        resuming.judge_state(run, again, machine)
        config = judge(words, machine, providers=command.providers, kept=kept)
        _judge_own(command, config, words.own)
        return Asked(config, machine, words.own, again, run, resuming.judge_cluster(run))
    except InputError as problem:
        complain(command.program, problem.message)
        sys.exit(2)


def _judge_credentials(machine: Machine) -> None:
    """Raise InputError where the environment holds credentials that can't be understood."""
    if machine.credentials:  # what reads them is slow to import, and few runs have any
        from meshlab.lifecycle.credentials import judge_credentials

        judge_credentials(machine)


def _judge_own(command: Command, config: LabConfig, chosen: Mapping[str, Any]) -> None:
    """Raises InputError for what the flow itself finds wrong."""
    found = command.judge(config, chosen) if command.judge is not None else []
    if found:
        raise InputError(found)
