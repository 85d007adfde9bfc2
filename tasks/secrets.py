"""Secrets: from the environment of the process, else from a Prefect block. Never parameters, which the UI shows."""

from __future__ import annotations

import httpx
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from pydantic import SecretStr

from meshlab.config.settings import ALERT_WEBHOOK, Machine
from meshlab.core.errors import AlertError
from meshlab.history.alerts import Message, Send, Webhook

ALERT_BLOCK = "mesh-lab-alert-webhook"


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
