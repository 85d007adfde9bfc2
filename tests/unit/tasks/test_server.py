import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from meshlab.runs import RunRef
from tasks import server
from tasks.common import lab_task
from tasks.server import server_gone
from tests.fakes.http_server import FakeHttpServer, Reply


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What one test found out about a port says nothing about the next one's."""
    server._watch_of.cache_clear()
    yield
    server._watch_of.cache_clear()


@contextmanager
def talking_to(address: str) -> Iterator[None]:
    """A flow whose server is at that address, with two retries."""
    with temporary_settings({PREFECT_API_URL: f"{address}/api", PREFECT_CLIENT_MAX_RETRIES: 2}):
        token = SyncClientContext.__var__.set(
            SyncClientContext()
        )  # not entered: that would ask for a version
        try:
            yield
        finally:
            SyncClientContext.__var__.reset(token)


@lab_task("install-istio", tags=("istio",))
def install(run: RunRef) -> None: ...


def test_without_a_server_nothing_is_gone() -> None:
    assert server_gone() == ""
    assert install.as_can_be() is install


def test_a_server_that_is_well_is_asked_once_per_task_and_the_task_keeps_its_tags() -> None:
    with FakeHttpServer({"/api/health": Reply(True)}) as there, talking_to(there.url):
        assert install.as_can_be() is install
        assert [path for path, _ in there.asked] == ["/api/health"]
        assert PREFECT_CLIENT_MAX_RETRIES.value() == 2


def test_a_task_whose_server_is_gone_asks_it_for_no_slots_and_nothing_is_tried_twice(free_port: int) -> None:
    with talking_to(f"http://127.0.0.1:{free_port}"):
        assert "does not answer" in server_gone()
        plain = install.as_can_be()
        assert (plain.tags, plain.name, plain.task_key) == (set(), "install-istio", install.task_key)
        assert install.tags == {"istio"}
        assert PREFECT_CLIENT_MAX_RETRIES.value() == 0


def test_a_server_that_does_not_answer_is_not_asked_by_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWER", 0.2)
    with FakeHttpServer({"/api/health": Reply(way="silent")}) as there, talking_to(there.url):
        assert install.as_can_be().tags == install.as_can_be().tags == set()
        assert len(there.asked) == 1


def test_a_server_that_is_back_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWER", 0.2)
    monkeypatch.setattr(server, "REMEMBERED", 0.0)
    with FakeHttpServer({"/api/health": Reply(way="silent")}) as there, talking_to(there.url):
        assert server_gone()
        there.replies["/api/health"] = Reply(True)
        monkeypatch.setattr(server._watch_of(f"{there.url}/api")._client, "timeout", 5.0)
        assert server_gone() == ""
        assert PREFECT_CLIENT_MAX_RETRIES.value() == 2
        assert install.as_can_be().tags == {"istio"}
