"""Secrets: from the environment of the process, else from a Prefect block. Never parameters, which the UI shows."""

from __future__ import annotations

import httpx
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from pydantic import SecretStr

from meshlab.settings import Machine

ALERT_BLOCK = "mesh-lab-alert-webhook"


def alert_webhook() -> SecretStr | None:
    """The address that alerts go to, None where nobody has set one."""
    given = Machine.here().alert_webhook
    if given is not None:
        return given
    try:
        block = Secret.load(ALERT_BLOCK)  # synchronous outside of an event loop, which is where tasks run
    except (ValueError, httpx.HTTPError, PrefectException):
        return None  # no such block, or no server to ask
    return SecretStr(str(block.get()))  # type: ignore[union-attr]
