"""Whether the credentials in the environment can be understood, judged before anything is touched."""

from __future__ import annotations

from meshlab.config.settings import CREDENTIALS, Machine
from meshlab.core.errors import InputError, Problem
from meshlab.observability.addons.credentials import read_access


def judge_credentials(machine: Machine) -> None:
    """Refuse credentials that can't be understood.

    Args:
        machine: Its environment may hold some.

    Raises:
        InputError: Every problem, without a value.
    """
    problems: list[Problem] = []
    for name, document in machine.credentials.items():
        try:
            read_access(CREDENTIALS[name], document.get_secret_value())
        except InputError as problem:
            problems += problem.problems
    if problems:
        raise InputError(problems)
