import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from meshlab.config.settings import ALERT_WEBHOOK, Machine
from meshlab.core.errors import AlertError
from meshlab.history.alerts import Message, Webhook, message_of, slack_payload, tell
from meshlab.history.series import MISSED, Incident
from meshlab.history.store import History
from tests.fakes.http_server import FakeHttpServer, Reply

OPEN = Incident("p50:r1", "request-p50", "r1", "", "p50 is 13 ms", "")
OVER = Incident("p50:r1", "request-p50", "r1", "r5", "p50 is 13 ms", "p50 is back: 10 ms")
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


def refused(*, retryable: bool) -> AlertError:
    return AlertError("no way", retryable=retryable)


def test_a_message_that_is_refused_is_sent_by_the_next_run_and_the_others_now(history: History) -> None:
    other = Incident("red:r2", "run-red", "r2", "", "failed", "")
    sent: list[Message] = []

    def send(message: Message) -> None:
        if "p50" in message.title and not sent:
            raise refused(retryable=False)
        sent.append(message)

    with pytest.raises(AlertError, match="no way"):
        tell(history, [OPEN, other], send)
    assert [m.title for m in sent] == ["Incident: run-red"]
    assert [m.title for m in tell(history, [OPEN, other], send)] == ["Incident: request-p50"]


def test_where_nothing_gets_through_one_message_is_tried_and_all_wait(history: History) -> None:
    tried: list[Message] = []

    def down(message: Message) -> None:
        tried.append(message)
        raise refused(retryable=True)

    other = Incident("red:r2", "run-red", "r2", "", "failed", "")
    for _ in range(2):
        with pytest.raises(AlertError):
            tell(history, [OPEN, other], down)
    assert len(tried) == 2
    sent: list[Message] = []
    tell(history, [OPEN, other], sent.append)
    tell(history, [OPEN, other], sent.append)
    assert len(sent) == 2


def test_an_incident_that_was_over_while_the_webhook_was_down_is_told_with_its_end(history: History) -> None:
    def down(message: Message) -> None:
        raise refused(retryable=True)

    for night in ([OPEN], [OVER]):
        with pytest.raises(AlertError):
            tell(history, night, down)
    assert [m.ended for m in tell(history, [OVER], lambda message: None)] == [False, True]


def test_a_missed_night_is_told_by_the_run_that_comes_also_when_the_webhook_was_down(
    history: History,
) -> None:
    gap = Incident("night-missed:r1", MISSED, "r1", "r2", "no run for 48 h after r1 (until r2)", "runs again")

    def down(message: Message) -> None:
        raise refused(retryable=True)

    with pytest.raises(AlertError):
        tell(history, [gap], down, latest="r2")
    assert [m.text for m in tell(history, [gap], lambda message: None, latest="r3")] == [gap.text]
    assert tell(history, [gap], pytest.fail, latest="r4") == []


def test_a_gap_of_long_ago_is_not_told_to_a_new_webhook(history: History) -> None:
    gap = Incident("night-missed:r1", MISSED, "r1", "r2", "no run for 48 h after r1 (until r2)", "runs again")
    assert tell(history, [gap], pytest.fail, latest="r9") == []


def test_an_incident_that_a_resumed_run_undid_is_told_as_over(history: History) -> None:
    other = Incident("p50:r7", "request-p50", "r7", "", "p50 is 13 ms", "")
    tell(history, [OPEN], lambda message: None, series="full-lab on local/a")
    tell(history, [other], lambda message: None, series="nightly on existing/b")
    [told] = tell(history, [], lambda message: None, series="full-lab on local/a", latest="r1")
    assert told.ended and "recorded anew" in told.text
    assert tell(history, [], pytest.fail, series="full-lab on local/a", latest="r1") == []


def test_a_process_that_is_killed_while_it_sends_loses_nothing(history: History) -> None:
    def killed(message: Message) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell(history, [OPEN], killed)
    assert tell(history, [OPEN], pytest.fail) == []  # it may be sending still
    alert = history.claim_alert(at="2099-01-01", stale="2099-01-01")
    assert alert is not None and alert.incident == OPEN.name
    history.settle_alert(alert, sent="")
    assert [m.title for m in tell(history, [OPEN], lambda message: None)] == ["Incident: request-p50"]


def test_two_processes_send_each_message_once(tmp_path: Path) -> None:
    incidents = [Incident(f"red:r{n}", "run-red", f"r{n}", "", "failed", "") for n in range(8)]
    sent: list[str] = []

    def process(_: int) -> None:
        with History(tmp_path / "history.sqlite") as mine:
            tell(mine, incidents, lambda message: sent.append(message.text))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(process, range(4)))
    assert len(sent) == len(incidents)


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
        (Reply("", 500, way="drip"), "answered 500"),
    ],
)
def test_a_failure_is_told_without_the_address(
    reply: Reply, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeHttpServer({f"POST {SECRET}": reply}) as receiver, pytest.raises(AlertError, match=said) as told:
        patience = 0.3 if said == "ReadTimeout" else 30.0  # a busy machine answers late
        Webhook(SecretStr(receiver.url + SECRET), timeout=patience)(message_of(OPEN, ended=False))
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
        given = (
            receiver.url.replace("127.0.0.1", "LocalHost") + SECRET
        )  # httpx writes the host in small letters
        Webhook(SecretStr(f" {given}\n"))(message_of(OPEN, ended=False))
        Webhook(SecretStr(given.replace("http://", "http://me:pass@")))(message_of(OPEN, ended=False))
        assert len(receiver.asked) == 3
    assert "verysecret" not in caplog.text
    logging.getLogger("httpx").info("another request")
    assert "another request" in caplog.text


def test_the_address_comes_from_the_environment_and_prints_as_stars() -> None:
    machine = Machine.here({"HOME": "/", ALERT_WEBHOOK: "http://hooks.example.org/verysecret"})
    assert machine.alert_webhook is not None
    assert machine.alert_webhook.get_secret_value().endswith("verysecret")
    assert "verysecret" not in repr(machine) + machine.model_dump_json()
    assert Machine.here({"HOME": "/"}).alert_webhook is None
