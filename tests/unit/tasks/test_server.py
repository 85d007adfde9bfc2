import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from prefect import Task
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import SyncClientContext
from prefect.futures import PrefectConcurrentFuture
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, State

from meshlab.run.journal import RunRef
from tasks import server
from tasks.common import lab_task
from tasks.server import LabTask, server_gone
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


def submitting(monkeypatch: pytest.MonkeyPatch, outcome: State[int] | Exception) -> list[set[str]]:
    """Submitted tasks with tags end like this, those without in 7; returns the tags of each that is submitted."""
    seen: list[set[str]] = []

    def submit(task: LabTask[Any, Any], *args: Any, **kwargs: Any) -> PrefectConcurrentFuture[int]:
        seen.append(set(task.tags))
        ended: Future[Any] = Future()
        if task.tags and isinstance(outcome, Exception):
            ended.set_exception(outcome)
        else:
            ended.set_result(outcome if task.tags else Completed(data=7))
        return PrefectConcurrentFuture(uuid4(), ended)

    monkeypatch.setattr(Task, "submit", submit)
    return seen


NO_SLOTS = ConcurrencySlotAcquisitionError("503 Service Unavailable")


@pytest.mark.parametrize(
    ("why", "outcome", "tried"),
    [
        ("", Completed(data=3), [{"istio"}]),
        ("gone", NO_SLOTS, [{"istio"}, set()]),
    ],
)
def test_a_server_that_goes_away_while_a_task_is_submitted(
    why: str, outcome: Any, tried: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = submitting(monkeypatch, outcome)
    answers = iter(["", why, why])
    monkeypatch.setattr(server, "server_gone", lambda: next(answers))
    ended: list[object] = []
    future = install.submit("run")
    future.add_done_callback(ended.append)
    assert future.result() == (7 if why else 3) and future.state.is_completed()
    assert seen == tried and ended == [future]


def test_slots_that_a_server_which_is_well_refuses_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = submitting(monkeypatch, NO_SLOTS)
    monkeypatch.setattr(server, "server_gone", lambda: "")
    with pytest.raises(ConcurrencySlotAcquisitionError):
        install.submit("run").wait()
    assert seen == [{"istio"}]
