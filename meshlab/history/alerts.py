"""Telling people: one message when an incident begins, one when it ends, to a webhook that takes Slack's JSON.

The webhook's address is a secret. It comes from the environment or a Prefect block, and is in no message, error
or log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from meshlab.errors import AlertError
from meshlab.history.series import MISSED, Trouble
from meshlab.history.store import History
from meshlab.runs import now

TIMEOUT = 10.0  # seconds for the whole delivery of one message
LONGEST = 2900  # characters of a text block; Slack takes 3000


@dataclass(frozen=True)
class Message:
    """What is told. title: one line. ended: the incident is over. context: which run told it, and where it is."""

    title: str
    text: str
    ended: bool
    context: str = ""


Send = Callable[[Message], None]  # raises AlertError where the message did not get through


def message_of(trouble: Trouble, *, ended: bool, context: str = "") -> Message:
    """An incident's begin, or its end, in words."""
    title = f"{'Resolved' if ended else 'Incident'}: {trouble.what}"
    return Message(title, trouble.end_text if ended else trouble.text, ended, context)


def slack_payload(message: Message) -> dict[str, Any]:
    """The message as Slack's incoming webhooks take it (`text` for notifications, `blocks` for the channel).

    Source: Slack's Block Kit: header (plain text, at most 150 characters), section, context. Text is escaped as
    Slack asks (&, <, >), so nothing in it can mention a channel.
    """
    mark = "✅" if message.ended else "🔴"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": f"{mark} {message.title}"[:150]}},
        {"type": "section", "text": {"type": "mrkdwn", "text": _escaped(message.text)[:LONGEST]}},
    ]
    if message.context:
        element = {"type": "mrkdwn", "text": _escaped(message.context)[:LONGEST]}
        blocks.append({"type": "context", "elements": [element]})
    return {"text": _escaped(f"{mark} {message.title}: {message.text}")[:LONGEST], "blocks": blocks}


class Webhook:
    """Posts messages to an address. Called with a Message; raises AlertError, which does not name the address."""

    def __init__(self, url: SecretStr, *, timeout: float = TIMEOUT) -> None:
        self._url, self._timeout = url, timeout

    def __call__(self, message: Message) -> None:
        url = self._url.get_secret_value()
        quiet, requests = _Quiet(url), logging.getLogger("httpx")
        requests.addFilter(quiet)  # httpx logs each request with its address
        try:
            answer = httpx.post(url, json=slack_payload(message), timeout=self._timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            # Its text may hold the address, so only its kind is told, and it is not chained.
            raise AlertError(
                f"the webhook could not be reached: {type(problem).__name__}",
                remedy="check the address in the secret, and the way there",
            ) from None
        finally:
            requests.removeFilter(quiet)
        if not answer.is_success:
            raise AlertError(
                f"the webhook answered {answer.status_code}",
                remedy="check that the address in the secret is still valid",
                retryable=answer.status_code >= 500,
            )


def tell(history: History, troubles: Iterable[Trouble], send: Send, *, context: str = "") -> list[Message]:
    """Send what was not yet told; returns what got through.

    An incident that goes on is told once; its end is told once, if its begin was. A missed night can't be told
    before a run comes again: it is told then, and its end with it. What was claimed by another process is left
    to it. A message that does not get through is given back, so that the next run tries again; the others are
    still sent, then the first AlertError is raised.
    """
    begun = {name for name, ended, _, _ in history.alerts() if not ended}
    sent: list[Message] = []
    failures: list[AlertError] = []
    for trouble in troubles:
        ended = bool(trouble.ended)
        if ended and trouble.name not in begun:
            if trouble.what != MISSED:
                continue  # over before anybody was told
            ended = False
            history.claim_alert(trouble.name, ended=True, at=now(), message="told with its begin")
        message = message_of(trouble, ended=ended, context=context)
        if not history.claim_alert(trouble.name, ended=ended, at=now(), message=message.text):
            continue
        try:
            send(message)
        except AlertError as problem:
            history.release_alert(trouble.name, ended=ended)
            failures.append(problem)
            continue
        sent.append(message)
    if failures:
        raise failures[0]
    return sent


class _Quiet(logging.Filter):
    """Drops log lines that hold a secret."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        return self._secret not in record.getMessage()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
