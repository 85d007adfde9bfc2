import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from meshlab.errors import AlertError
from meshlab.history.alerts import Message, Webhook, message_of, slack_payload, tell
from meshlab.history.series import Trouble
from meshlab.history.store import History
from meshlab.settings import ALERT_WEBHOOK, Machine
from tests.fakes.http_server import FakeHttpServer, Reply

OPEN = Trouble("p50:r1", "request-p50", "r1", "", "p50 is 13 ms", "")
OVER = Trouble("p50:r1", "request-p50", "r1", "r5", "p50 is 13 ms", "p50 is back: 10 ms")
SECRET = "/services/T00/B00/verysecret"


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


def test_one_message_when_it_begins_one_when_it_ends_however_many_nights(history: History) -> None:
    sent: list[Message] = []
    for night in ([], [OPEN], [OPEN], [OPEN], [OVER], [OVER]):
        tell(history, night, sent.append)
    assert [(message.title, message.text, message.ended) for message in sent] == [
        ("Incident: request-p50", "p50 is 13 ms", False),
        ("Resolved: request-p50", "p50 is back: 10 ms", True),
    ]


def test_what_was_over_before_anybody_was_told_is_not_told(history: History) -> None:
    assert tell(history, [OVER], pytest.fail) == []


def test_a_message_that_did_not_get_through_is_sent_by_the_next_run_and_the_others_now(
    history: History,
) -> None:
    other = Trouble("red:r2", "run-red", "r2", "", "failed", "")
    sent: list[Message] = []

    def send(message: Message) -> None:
        if "p50" in message.title and not sent:
            raise AlertError("no way")
        sent.append(message)

    with pytest.raises(AlertError, match="no way"):
        tell(history, [OPEN, other], send)
    assert [m.title for m in sent] == ["Incident: run-red"]
    assert [m.title for m in tell(history, [OPEN, other], send)] == ["Incident: request-p50"]


def test_a_receiver_gets_slack_s_json(history: History) -> None:
    with FakeHttpServer({f"POST {SECRET}": Reply("ok")}) as receiver:
        tell(history, [OPEN], Webhook(SecretStr(receiver.url + SECRET)), context="run r1, runs/r1")
        [(_, got)] = receiver.asked
    assert got["text"] == "🔴 Incident: request-p50: p50 is 13 ms"
    assert [block["type"] for block in got["blocks"]] == ["header", "section", "context"]
    assert got["blocks"][2]["elements"][0]["text"] == "run r1, runs/r1"


def test_nothing_in_a_message_can_mention_a_channel_or_be_too_long() -> None:
    payload = slack_payload(Message("t" * 500, "<!channel> & " + "x" * 5000, False))
    assert "<!channel>" not in str(payload)
    assert len(payload["text"]) <= 3000 and len(payload["blocks"][0]["text"]["text"]) <= 150


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply("no", 404), "answered 404"),
        (Reply("", 503), "answered 503"),
        (Reply("", way="silent"), "ReadTimeout"),
    ],
)
def test_a_failure_is_told_without_the_address(
    reply: Reply, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeHttpServer({f"POST {SECRET}": reply}) as receiver, pytest.raises(AlertError, match=said) as told:
        Webhook(SecretStr(receiver.url + SECRET), timeout=0.3)(message_of(OPEN, ended=False))
    assert "verysecret" not in str(told.value) + caplog.text
    assert told.value.__suppress_context__ or told.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/verysecret", "verysecret", "ftp://verysecret", "http://[bad"]
)
def test_an_address_that_leads_nowhere_is_not_named(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AlertError, match="could not be reached") as told:
        Webhook(SecretStr(url))(message_of(OPEN, ended=False))
    assert "verysecret" not in str(told.value) + caplog.text


def test_a_delivery_is_not_logged_with_its_address_and_others_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with FakeHttpServer({f"POST {SECRET}": Reply("ok")}) as receiver:
        Webhook(SecretStr(receiver.url + SECRET))(message_of(OPEN, ended=False))
    assert "verysecret" not in caplog.text
    logging.getLogger("httpx").info("another request")
    assert "another request" in caplog.text


def test_the_address_comes_from_the_environment_and_prints_as_stars() -> None:
    machine = Machine.here({"HOME": "/", ALERT_WEBHOOK: "http://hooks.example.org/verysecret"})
    assert machine.alert_webhook is not None
    assert machine.alert_webhook.get_secret_value().endswith("verysecret")
    assert "verysecret" not in repr(machine) + machine.model_dump_json()
    assert Machine.here({"HOME": "/"}).alert_webhook is None
