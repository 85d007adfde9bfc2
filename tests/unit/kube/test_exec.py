from __future__ import annotations

import threading

import pytest
import websocket

from meshlab.core.errors import ExecError, KubeError
from meshlab.kube.exec import run_in_pod, stream_in_pod
from tests.fakes.kube import FakeExecStream, FakeKube, exit_status


def _kube(*streams: object) -> FakeKube:
    kube = FakeKube()
    kube.streams = list(streams)
    return kube


def _run(kube: FakeKube, **options: object):  # type: ignore[no-untyped-def]
    return run_in_pod(kube, "ns", "pod", "app", ["echo", "x"], timeout=5, **options)  # type: ignore[arg-type]


def test_output_of_both_streams_and_the_code() -> None:
    stream = FakeExecStream([(1, b"caf\xc3"), (2, b"oops\n"), (1, b"\xa9\n")], exit_status(3))
    kube = _kube(stream)
    done = _run(kube)
    assert (done.stdout, done.stderr, done.returncode) == ("café\n", "oops\n", 3)
    assert kube.opened == [("ns", "pod", "app", ("echo", "x"), False)]
    assert stream.closed


def test_check_raises_with_the_output() -> None:
    with pytest.raises(ExecError) as caught:
        _run(_kube(FakeExecStream([(2, b"no such thing\n")], exit_status(2))), check=True)
    assert caught.value.returncode == 2
    assert "no such thing" in caught.value.message
    assert not caught.value.retryable


def test_input_is_sent_in_pieces_and_closed() -> None:
    stream = FakeExecStream([None, (1, b"ok")])
    _run(_kube(stream), stdin="x" * 70_000)
    assert b"".join(stream.written) == b"x" * 70_000
    assert len(stream.written) == 3
    assert stream.input_closed


def test_input_needs_a_protocol_that_can_close_it() -> None:
    stream = FakeExecStream([])
    stream.subprotocol = "v4.channel.k8s.io"
    with pytest.raises(ExecError, match="can't close a command's input"):
        _run(_kube(stream), stdin="x")


@pytest.mark.parametrize(
    "frames",
    [
        [(1, b"half"), websocket.WebSocketConnectionClosedException("gone")],
        [(1, b"half"), ConnectionResetError("reset")],
        [(1, b"half")],  # closed in good order, but without a Status
    ],
)
def test_broken_connection_has_no_code_and_may_be_tried_again(frames: list) -> None:  # type: ignore[type-arg]
    stream = FakeExecStream(frames, status=None)
    with pytest.raises(ExecError) as caught:
        _run(_kube(stream))
    assert caught.value.returncode is None
    assert caught.value.retryable
    assert "may still run" in caught.value.message
    assert stream.closed


@pytest.mark.parametrize(
    ("message", "retryable"),
    [('exec: "foo": executable file not found in $PATH', False), ("container not running", True)],
)
def test_failure_without_a_cause(message: str, retryable: bool) -> None:
    status = {"status": "Failure", "reason": "InternalError", "message": message}
    with pytest.raises(ExecError, match="was not run") as caught:
        _run(_kube(FakeExecStream([], status)))
    assert caught.value.retryable is retryable


def test_refused_start_passes_through() -> None:
    with pytest.raises(KubeError) as caught:
        _run(_kube(KubeError("forbidden", status=403)))
    assert caught.value.status == 403


def test_deadline() -> None:
    with pytest.raises(ExecError, match="deadline"):
        run_in_pod(_kube(FakeExecStream([None])), "ns", "pod", None, ["sleep"], timeout=0.01)  # type: ignore[arg-type]


def test_silence() -> None:
    with pytest.raises(ExecError, match="said nothing"):
        stream_in_pod(
            _kube(FakeExecStream([None])),  # type: ignore[arg-type]
            "ns",
            "pod",
            "app",
            ["sleep"],
            on_line=lambda line: None,
            timeout=60,
            idle_timeout=0.01,
        )


def test_lines_as_they_come_and_the_last_one_unfinished() -> None:
    lines: list[str] = []
    frames = [(1, b"one\ntw"), (1, b"o\nthr"), (1, b"ee"), (2, b"warn")]
    done = stream_in_pod(
        _kube(FakeExecStream(frames)),  # type: ignore[arg-type]
        "ns",
        "pod",
        "app",
        ["loop"],
        on_line=lines.append,
        timeout=5,
    )
    assert lines == ["one", "two", "three"]
    assert (done.stdout, done.stderr, done.returncode) == ("", "warn", 0)


def test_stop_tells_the_command_and_awaits_its_end() -> None:
    stop = threading.Event()
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        stop.set()

    stream = FakeExecStream([(1, b"begun\n"), None, (1, b"ended\n")])
    done = stream_in_pod(
        _kube(stream),  # type: ignore[arg-type]
        "ns",
        "pod",
        "app",
        ["loop"],
        on_line=on_line,
        timeout=5,
        stop=stop,
        stop_input="stop\n",
    )
    assert stream.written == [b"stop\n"]
    assert lines == ["begun", "ended"]
    assert done.returncode == 0


def test_stop_without_a_word_closes_the_connection() -> None:
    stop = threading.Event()
    stop.set()
    stream = FakeExecStream([None])
    done = stream_in_pod(
        _kube(stream),  # type: ignore[arg-type]
        "ns",
        "pod",
        "app",
        ["loop"],
        on_line=lambda line: None,
        timeout=5,
        stop=stop,
    )
    assert done.returncode is None
    assert stream.closed


def test_an_error_of_the_listener_is_not_a_broken_connection() -> None:
    def on_line(line: str) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        stream_in_pod(
            _kube(FakeExecStream([(1, b"x\n")])),  # type: ignore[arg-type]
            "ns",
            "pod",
            "app",
            ["loop"],
            on_line=on_line,
            timeout=5,
        )
