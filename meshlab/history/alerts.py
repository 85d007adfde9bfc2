"""Telling people: one message when an incident begins, one when it ends, to a webhook that takes Slack's JSON.

The webhook's address is a secret. It comes from the environment or a Prefect block, and is in no message, error
or log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr

from meshlab.core.errors import AlertError
from meshlab.history.records import Alert
from meshlab.history.series import MISSED, Incident
from meshlab.history.store import History
from meshlab.run.journal import stamp

TIMEOUT = 10.0  # seconds to connect, and to wait for more of the answer's head
DEAD = timedelta(seconds=60)  # after which a process that began to send is taken for killed
LONGEST = 2900  # characters of a text block; Slack takes 3000


@dataclass(frozen=True)
class Message:
    """What is told. title: one line. ended: the incident is over. context: which run told it, and where it is."""

    title: str
    text: str
    ended: bool
    context: str = ""


Send = Callable[[Message], None]  # raises AlertError where the message did not get through


def message_of(incident: Incident, *, ended: bool, series: str = "", context: str = "") -> Message:
    """An incident's begin, or its end, in words."""
    title = f"{'Resolved' if ended else 'Incident'}: {incident.what}" + (f" ({series})" if series else "")
    return Message(title, incident.end_text if ended else incident.text, ended, context)


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
        """Post a message."""
        url = self._url.get_secret_value().strip()  # a file's or a form's line break is no part of it
        quiet, requests = _Quiet(), logging.getLogger("httpx")
        requests.addFilter(quiet)  # httpx logs each request with its address
        try:
            # Of the answer its status is enough: a body is not awaited, however slowly it comes.
            with httpx.stream("POST", url, json=slack_payload(message), timeout=self._timeout) as answer:
                status, well = answer.status_code, answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            # Its text may hold the address, so only its kind is told, and it is not chained.
            raise AlertError(
                f"the webhook could not be reached: {type(problem).__name__}",
                remedy="check the address in the secret, and the way there",
            ) from None
        finally:
            requests.removeFilter(quiet)
        if not well:
            busy = status >= 500 or status == 429
            gone = "check that the address in the secret is still valid"
            raise AlertError(
                f"the webhook answered {status}",
                remedy="nothing, unless it goes on: the receiver has a problem" if busy else gone,
                retryable=busy,
            )


def tell(
    history: History,
    incidents: Iterable[Incident],
    send: Send,
    *,
    series: str = "",
    latest: str = "",
    context: str = "",
) -> list[Message]:
    """Write down what is to be told of a series and send all that waits.

    An incident that goes on is told once; its end is told once, if its begin was.

    Args:
        history: The store.
        incidents: The series' incidents.
        send: Sends a message.
        series: The flow and cluster whose incidents these are, all of them.
        latest: Its newest run; a missed night that it ended can't be told before, so it is told then, and
            its end with it.
        context: Which run tells it, and where it is.

    Returns:
        What got through.
    """
    _post(history, list(incidents), series, latest, context)
    return deliver(history, send)


def deliver(history: History, send: Send) -> list[Message]:
    """Send what waits, of any series, oldest first; returns what got through.

    Each message is claimed first, so that of two processes one sends it. One that does not get through waits for
    the next run, and so does one whose sender was killed before it could note that it was sent: such a message
    may come twice, but none is lost. Where nothing gets through, the rest is not tried. Raises the first
    AlertError, HistoryError.
    """
    sent: list[Message] = []
    failed: list[Alert] = []
    first: AlertError | None = None
    while first is None or not first.retryable:
        moment = datetime.now(UTC)
        alert = history.claim_alert(at=stamp(moment), stale=stamp(moment - DEAD))
        if alert is None:
            break
        message = Message(alert.title, alert.text, alert.ended, alert.context)
        try:
            send(message)
        except AlertError as problem:
            failed.append(alert)
            first = problem if first is None or problem.retryable else first
            continue
        history.settle_alert(alert, sent=stamp(datetime.now(UTC)))
        sent.append(message)
    for alert in failed:
        history.settle_alert(alert, sent="")
    if first is not None:
        raise first
    return sent


def _post(history: History, incidents: list[Incident], series: str, latest: str, context: str) -> None:
    """Write down begins and ends that were not yet."""
    known = {(each.incident, each.ended): each for each in history.alerts()}
    at = stamp(datetime.now(UTC))

    def post(incident: Incident, *, ended: bool, sent: str = "") -> None:
        message = message_of(incident, ended=ended, series=series, context=context)
        history.post_alert(
            Alert(incident.name, ended, series, message.title, message.text, context, at, sent)
        )

    for incident in incidents:
        begun = (incident.name, False) in known
        gap = incident.what == MISSED and incident.ended == latest != ""
        if not begun and incident.ended and not gap:
            continue  # over before anybody was told
        if not begun:
            post(incident, ended=False)
        if incident.ended:
            post(incident, ended=True, sent=at if gap and not begun else "")
    there = {incident.name for incident in incidents}
    for (name, ended), alert in known.items():
        if not ended and alert.series == series and name not in there and (name, True) not in known:
            what, _, run = name.partition(":")
            text = f"it is none any more: a run of it ({run}) was recorded anew, as when it was resumed"
            post(Incident(name, what, run, latest, "", text), ended=True)


class _Quiet(logging.Filter):
    """Drops what httpx logs of a delivery.

    httpx writes the address as it reads it, which may differ from the address that was given: so this compares
    the thread, not the text.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through what other threads log."""
        return record.thread != self._thread


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
