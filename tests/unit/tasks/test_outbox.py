"""Nothing that is published is lost to a server that is slow or away for a while."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.outbox import PAUSE, Outbox, server_unreachable
from tests.fakes.clock import FakeClock
from tests.fakes.http_server import FakeHttpServer, Reply


class Server:
    """A server that may be away: what it took, and how often it was asked whether it is there."""

    def __init__(self) -> None:
        self.away, self.took, self.asked = "", list[str](), 0

    def reach(self) -> str:
        self.asked += 1
        return self.away

    def create(self, key: str) -> Callable[[], None]:
        def publish() -> None:
            if self.away:
                raise httpx.ConnectError(self.away)
            self.took.append(key)

        return publish


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(server: Server, clock: FakeClock) -> Outbox:
    return Outbox(server.reach, clock=clock)


def test_what_a_server_did_not_take_comes_before_the_next(
    server: Server, clock: FakeClock, outbox: Outbox
) -> None:
    server.away = "no answer"
    assert not outbox.publish("pods", server.create("pods"))
    assert not outbox.publish("queries", server.create("queries"))
    assert server.asked == 1, "one question for both: each may cost seconds"
    server.away = ""
    clock.sleep(PAUSE)
    assert outbox.publish("checks", server.create("checks"))
    assert server.took == ["pods", "queries", "checks"]
    assert outbox.flush() == ()


def test_the_newest_of_a_key_is_kept(server: Server, outbox: Outbox) -> None:
    server.away = "no answer"
    for name in ("old", "new"):
        outbox.publish("pods", server.create(name))
    server.away = ""
    assert outbox.flush() == () and server.took == ["new"]


def test_progress_is_not_kept(server: Server, outbox: Outbox) -> None:
    server.away = "no answer"
    outbox.publish("progress-istio", server.create("progress-istio"), keep=False)
    assert outbox.flush() == ()


def test_the_end_waits_for_a_server_that_comes_back(server: Server) -> None:
    clock = FakeClock(on_sleep=lambda now: setattr(server, "away", "" if now > 20 else "no answer"))
    outbox = Outbox(server.reach, clock=clock)
    server.away = "no answer"
    outbox.publish("report", server.create("report"))
    assert outbox.flush(deadline=60) == () and server.took == ["report"]
    assert 20 < clock.now() < 25


def test_what_a_server_never_takes_is_told_within_the_deadline(
    server: Server, outbox: Outbox, clock: FakeClock
) -> None:
    server.away = "no answer"
    for key in ("report", "checks"):
        outbox.publish(key, server.create(key))
    begun = clock.now()
    assert [(each.key, each.reason) for each in outbox.flush(deadline=60)] == [
        ("report", "no answer"),
        ("checks", "no answer"),
    ]
    assert 60 <= clock.now() - begun <= 62
    assert outbox.flush(deadline=60) == (), "told once"


def test_an_artifact_that_the_server_refuses_keeps_no_other_back(server: Server, outbox: Outbox) -> None:
    def refused() -> None:
        raise ValueError("422: key is not valid")

    outbox.publish("Bad Key", refused)
    outbox.publish("checks", server.create("checks"))
    lost = outbox.flush(deadline=5)
    assert [each.key for each in lost] == ["Bad Key"] and server.took == ["checks"]


def test_a_server_is_asked_at_the_address_that_prefect_uses() -> None:
    assert server_unreachable() == "", "without a server there is none to be unreachable"
    with (
        FakeHttpServer({"/api/health": Reply("true")}) as there,
        temporary_settings({PREFECT_API_URL: f"{there.url}/api"}),
    ):
        token = SyncClientContext.__var__.set(SyncClientContext())
        try:
            assert server_unreachable() == ""
            address = there.url
        finally:
            SyncClientContext.__var__.reset(token)
    with temporary_settings({PREFECT_API_URL: f"{address}/api"}):
        token = SyncClientContext.__var__.set(SyncClientContext())
        try:
            assert "does not answer" in server_unreachable()
        finally:
            SyncClientContext.__var__.reset(token)
