from __future__ import annotations

from typing import Any

import pytest
import websocket

from meshlab.app.loop import RequestLoop
from meshlab.app.script import MARK
from meshlab.app.source import Source
from meshlab.core.errors import ExecError, KubeError
from tests.fakes.kube import FakeExecStream, FakeKube, exit_status

SOURCE = Source("default", "sleep-1", "sleep", "uid")
GONE = websocket.WebSocketConnectionClosedException("gone")


def _loop(stream: Any, **options: Any) -> tuple[RequestLoop, FakeKube]:
    kube = FakeKube()
    kube.streams = [stream]
    return RequestLoop(kube, SOURCE, "http://productpage:9080/productpage", **options), kube  # type: ignore[arg-type]


def _out(text: str) -> tuple[int, bytes]:
    return (1, text.encode())


def test_every_request_is_counted_until_the_drain() -> None:
    stream = FakeExecStream(
        [
            _out("B 0\nR 1 200 0.010 0\nR 2 "),
            _out("503 0.030 0\nR 3 000 5.0 28\n"),
            None,
            _out("R 4 200 0.020 0\nE 4\n"),
        ]
    )
    loop, kube = _loop(stream, interval=(1, 2))
    result = loop.start().stop_and_drain()
    assert stream.written == [b"stop\n"]
    assert result.exact, result.errors
    assert result.sent == 4
    assert result.by_status == {"200": 2, "503": 1, "000": 1}
    assert result.exit_codes == {28: 1}
    assert (result.p50_ms, result.p90_ms, result.max_ms) == (20.0, 5000.0, 5000.0)
    assert [request.number for request in loop.records()] == [1, 2, 3, 4]
    assert loop.stop_and_drain() == result
    (namespace, pod, container, argv, stdin) = kube.opened[0]
    assert (namespace, pod, container, stdin) == ("default", "sleep-1", "sleep", True)
    assert argv[3].startswith(MARK)
    assert len(argv) == 4 + 64


def test_snapshot_of_a_running_loop_is_no_error() -> None:
    loop, _ = _loop(FakeExecStream([_out("B 0\nR 1 200 0.010 0\n"), None, _out("E 1\n")]))
    with loop:
        assert loop.snapshot().exact
    assert loop.snapshot().sent == 1


def test_context_manager_and_count() -> None:
    loop, _ = _loop(FakeExecStream([_out("B 0\nR 1 200 0.01 0\nR 2 200 0.01 0\nE 2\n")]), count=2)
    with loop:
        assert loop.join(10).sent == 2
    assert not loop.running


def test_broken_stream_is_an_error_and_not_a_restart() -> None:
    stream = FakeExecStream([_out("B 0\nR 1 200 0.01 0\nR 2 "), GONE], status=None)
    loop, kube = _loop(stream)
    result = loop.start().join(10)
    assert not result.exact
    assert result.sent == 1
    assert any("request 2 was under way" in error for error in result.errors)
    assert any("lost its connection" in error for error in result.errors)
    assert len(kube.opened) == 1


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("R 1 200 0.01 0\nR 3 200 0.01 0\nE 3\n", "sent 3 requests, 2 lines"),
        ("R 1 200 0.01 0\n", "did not tell how many"),
        ("R 1  127\nE 1\n", "was cut"),
        ("what is this\nE 0\n", "does not write"),
    ],
)
def test_counts_that_do_not_add_up(lines: str, error: str) -> None:
    loop, _ = _loop(FakeExecStream([_out("B 0\n" + lines)]))
    result = loop.start().join(10)
    assert not result.exact
    assert any(error in each for each in result.errors), result.errors


def test_loop_that_is_killed() -> None:
    loop, _ = _loop(FakeExecStream([_out("B 0\nR 1 200 0.01 0\n"), (2, b"Killed")], exit_status(137)))
    result = loop.start().join(10)
    assert any("ended with 137: Killed" in error for error in result.errors)


def test_leftovers_are_reported() -> None:
    loop, _ = _loop(FakeExecStream([_out("B 2\nE 0\n")]))
    result = loop.start().join(10)
    assert (result.leftovers_ended, result.sent, result.p50_ms, result.first, result.rate) == (
        2,
        0,
        None,
        None,
        0.0,
    )
    assert result.exact


def test_start_raises_what_prevents_it() -> None:
    loop, _ = _loop(KubeError("no such pod", status=404))
    with pytest.raises(KubeError, match="no such pod"):
        loop.start()
    loop, _ = _loop(FakeExecStream([_out("X there is no curl in this container\n")], exit_status(127)))
    with pytest.raises(ExecError, match="no curl"):
        loop.start()
