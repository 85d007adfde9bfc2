"""Secrets: from the environment of the process, else from a Prefect block. Never parameters, which the UI shows."""

from __future__ import annotations

import httpx
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from pydantic import SecretStr

from meshlab.config.settings import ALERT_WEBHOOK, CREDENTIALS, Machine
from meshlab.core.access import Access, hold_keys
from meshlab.core.errors import AlertError, InputError, Problem
from meshlab.history.alerts import Message, Send, Webhook
from meshlab.observability.addons.credentials import read_access

ALERT_BLOCK = "mesh-lab-alert-webhook"


def hold_credentials(machine: Machine) -> None:
    """Hold the credentials of Prometheus, tracing, Grafana and Kiali for this process.

    A server that does not answer is passed over: what can't be asked without them says so itself.

    Args:
        machine: Its environment comes first.

    Raises:
        InputError: Some of them can't be understood; all problems are named.
    """
    held: dict[str, Access] = {}
    problems: list[Problem] = []
    for name, variable in CREDENTIALS.items():
        where, document = variable, machine.credentials.get(name)
        if document is None:
            where, document = f"block {credentials_block(name)}", _block(credentials_block(name))
        if document is None:
            continue
        try:
            held[name] = read_access(where, document.get_secret_value())
        except InputError as problem:
            problems += problem.problems
    if problems:
        raise InputError(problems)
    hold_keys(held)


def credentials_block(name: str) -> str:
    """Name the Prefect block that may hold credentials.

    Args:
        name: What they are for: prometheus, tracing, grafana or kiali.

    Returns:
        The block's name.
    """
    return f"mesh-lab-{name}-credentials"


def _block(name: str) -> SecretStr | None:
    try:
        block = Secret.load(name)  # synchronous outside of an event loop, which is where tasks run
    except (ValueError, httpx.HTTPError, PrefectException):
        return None
    return SecretStr(str(block.get()))  # type: ignore[union-attr]


def alert_sender(machine: Machine) -> Send | None:
    """How alerts are sent; None where nobody has set an address.

    Where a server may keep one and does not answer, sending fails, so that the alerts wait for the next run.
    """
    given = machine.alert_webhook
    if given is not None:
        return Webhook(given)
    try:
        block = Secret.load(ALERT_BLOCK)  # synchronous outside of an event loop, which is where tasks run
    except ValueError:
        return None  # no such block
    except (httpx.HTTPError, PrefectException):
        return _unknown
    return Webhook(SecretStr(str(block.get())))  # type: ignore[union-attr]


def _unknown(message: Message) -> None:
    raise AlertError(
        f"Prefect's server does not answer when asked for the address, the block {ALERT_BLOCK}",
        remedy=f"see that the server runs, or put the address into {ALERT_WEBHOOK}",
    )
