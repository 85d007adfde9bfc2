"""Where the webhook's address comes from."""

import httpx
import pytest
from prefect.blocks.system import Secret

from meshlab.config.settings import ALERT_WEBHOOK, CREDENTIALS, Machine
from meshlab.core.access import access_of, hold_keys
from meshlab.core.errors import AlertError, InputError
from meshlab.history.alerts import Message, Webhook
from meshlab.lifecycle.credentials import judge_credentials
from tasks.secrets import ALERT_BLOCK, alert_sender, hold_credentials


def load_gives(monkeypatch: pytest.MonkeyPatch, answer: Secret[str] | Exception) -> None:
    def load(name: str) -> Secret[str]:
        assert name == ALERT_BLOCK
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.delenv(ALERT_WEBHOOK, raising=False)
    monkeypatch.setattr(Secret, "load", load)


def test_the_environment_comes_first_then_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    load_gives(monkeypatch, Secret(value="http://127.0.0.1:1/verysecret"))
    assert isinstance(alert_sender(Machine.here()), Webhook)
    load_gives(monkeypatch, AssertionError("the block is not asked for"))
    monkeypatch.setenv(ALERT_WEBHOOK, "http://127.0.0.1:1/verysecret")
    assert isinstance(alert_sender(Machine.here()), Webhook)


def test_without_either_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    load_gives(monkeypatch, ValueError("Unable to find block document"))
    assert alert_sender(Machine.here()) is None


def test_credentials_of_the_environment_come_first_then_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Secret[str]:
        if name == "mesh-lab-tracing-credentials":
            return Secret(value="{username: me, password: verysecret}")
        if name == "mesh-lab-prometheus-credentials":
            raise AssertionError("the variable is there")
        raise ValueError("Unable to find block document")

    monkeypatch.setattr(Secret, "load", load)
    monkeypatch.setenv("MESH_LAB_PROMETHEUS_CREDENTIALS", "{bearer: verysecret-token}")
    try:
        hold_credentials(Machine.here())
        assert [access_of(name).kind for name in CREDENTIALS] == ["bearer", "basic", "none", "none"]
    finally:
        hold_keys({})
    monkeypatch.setenv("MESH_LAB_PROMETHEUS_CREDENTIALS", "verysecret")
    monkeypatch.setenv("MESH_LAB_KIALI_CREDENTIALS", "verysecret")
    with pytest.raises(InputError) as told:
        hold_credentials(Machine.here())
    assert len(told.value.problems) == 2 and "verysecret" not in told.value.message
    with pytest.raises(InputError):
        judge_credentials(Machine.here())
    assert "verysecret" not in repr(Machine.here())


def test_a_server_that_does_not_answer_lets_the_alerts_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    load_gives(monkeypatch, httpx.ConnectError("All connection attempts failed"))
    send = alert_sender(Machine.here())
    assert send is not None
    with pytest.raises(AlertError, match="does not answer") as told:
        send(Message("t", "x", False))
    assert told.value.retryable and told.value.remedy
