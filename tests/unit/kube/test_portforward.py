from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import websocket

from meshlab.core.errors import KubeError
from meshlab.kube.portforward import PortForward
from tests.fakes.kube import FakeKube, make_pod

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}, {"port": 81}]},
}


class PodStream:
    """Stands in for the library's WSClient on a port-forward: the pod's end runs `serve` on what it receives.

    serve gets the bytes of one write and returns what the pod answers; None ends the stream, an exception
    cuts it.
    """

    def __init__(self, serve: Callable[[bytes], bytes | Exception | None], error: bytes = b"") -> None:
        here, self._there = socket.socketpair()
        self.sock = SimpleNamespace(sock=here)
        self._serve = serve
        self._channels: dict[int, bytes] = {}
        self._queue: list[tuple[int, bytes] | Exception | None] = [(0, b"\x78\x23"), (1, b"\x78\x23")]
        if error:
            self._queue.append((1, error))
        self._open = True
        self._wake()

    def _wake(self) -> None:
        self._there.send(b"!")

    def is_open(self) -> bool:
        return self._open

    def update(self, timeout: float = 0) -> None:
        self.sock.sock.recv(4096)
        while self._queue:
            frame = self._queue.pop(0)
            if isinstance(frame, Exception):
                raise frame
            channel, data = frame
            self._channels[channel] = self._channels.get(channel, b"") + data

    def write_channel(self, channel: int, data: bytes) -> None:
        assert channel == 0
        self._queue += [(0, each) if isinstance(each, bytes) else each for each in self._serve(data)]
        self._wake()

    def close(self, **_: Any) -> None:
        self._open = False
        self.sock.sock.close()
        self._there.close()


def _echo(data: bytes) -> list[bytes]:
    return [b"<" + data + b">"]


def _kube(*streams: Any, pods: tuple[Any, ...] | None = None) -> FakeKube:
    kube = FakeKube([SERVICE, *((make_pod("web-1", labels={"app": "web"}),) if pods is None else pods)])
    kube.streams = list(streams)
    return kube


def _forward(kube: FakeKube, **where: Any) -> PortForward:
    return PortForward(kube, namespace="default", **where)  # type: ignore[arg-type]


def _ask(port: int, data: bytes = b"hello") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        return connection.recv(4096)


def test_each_connection_gets_a_stream_of_its_own() -> None:
    kube = _kube(PodStream(_echo), PodStream(_echo))
    with _forward(kube, service="web", port=80) as forward:
        assert forward.url == f"http://127.0.0.1:{forward.port}"
        assert _ask(forward.port) == b"<hello>"
        assert _ask(forward.port, b"x") == b"<x>"
    assert kube.opened == [("default", "web-1", 8080)] * 2


def test_several_exchanges_on_one_connection() -> None:
    with (
        _forward(_kube(PodStream(_echo)), pod="web-1", port=9080) as forward,
        socket.create_connection(("127.0.0.1", forward.port), timeout=5) as connection,
    ):
        for word in (b"a", b"b", b"c"):
            connection.sendall(word)
            assert connection.recv(4096) == b"<" + word + b">"


def test_pod_that_was_replaced_is_followed() -> None:
    kube = _kube(PodStream(_echo), PodStream(_echo))
    with _forward(kube, selector="app=web", port=9080) as forward:
        _ask(forward.port)
        kube.store.clear()
        kube.put(make_pod("web-2", labels={"app": "web"}))
        _ask(forward.port)
    assert [opened[1] for opened in kube.opened] == ["web-1", "web-2"]


def test_pod_that_vanished_since_it_was_looked_up_is_tried_again() -> None:
    kube = _kube(KubeError("gone", status=404), PodStream(_echo))
    with _forward(kube, selector="app=web", port=9080) as forward:
        assert _ask(forward.port) == b"<hello>"


def test_cut_stream_ends_only_its_own_connection() -> None:
    cut = PodStream(lambda data: [websocket.WebSocketConnectionClosedException("gone")])
    with _forward(_kube(cut, PodStream(_echo)), selector="app=web", port=9080) as forward:
        assert _ask(forward.port) == b""
        assert _ask(forward.port) == b"<hello>"


def test_what_came_before_the_end_is_passed_on() -> None:
    gone = websocket.WebSocketConnectionClosedException("gone")
    stream = PodStream(lambda data: [b"last ", b"words", gone])
    with (
        _forward(_kube(stream), selector="app=web", port=9080) as forward,
        socket.create_connection(("127.0.0.1", forward.port), timeout=5) as connection,
    ):
        connection.sendall(b"x")
        assert connection.recv(4096) == b"last words"
        assert connection.recv(4096) == b""


def test_error_of_the_pods_end_is_kept() -> None:
    with _forward(_kube(PodStream(_echo, error=b"connection refused")), pod="web-1", port=1) as forward:
        assert _ask_until_closed(forward.port) == b""
        assert forward.last_error is not None
        assert "connection refused" in forward.last_error.message


@pytest.mark.parametrize("said", [b"read: connection reset by peer", b"write: broken pipe"])
def test_a_server_that_ends_a_connection_is_no_error_of_the_way_to_it(said: bytes) -> None:
    with _forward(_kube(PodStream(_echo, error=said)), pod="web-1", port=1) as forward:
        assert _ask_until_closed(forward.port) == b""
        assert forward.last_error is None


def _ask_until_closed(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return connection.recv(4096)


def test_refused_stream_closes_the_connection_and_is_kept() -> None:
    kube = _kube(KubeError("forbidden", status=403))
    with _forward(kube, selector="app=web", port=9080) as forward:
        assert _ask_until_closed(forward.port) == b""
        assert forward.last_error is not None
        assert forward.last_error.message == "forbidden"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"service": "nope", "port": 80}, "no service nope"),
        ({"service": "web", "port": 82}, r"leads no port 82 to pods: \[80, 81\]"),
        ({"selector": "app=other", "port": 80}, r"no pod of default/pods app=other:80 is Ready \(0 in all\)"),
    ],
)
def test_target_that_is_not_there(where: dict[str, Any], message: str) -> None:
    with pytest.raises(KubeError, match=message):
        _forward(_kube(), **where).open()


def test_unready_and_deleted_pods_are_no_target() -> None:
    unready = make_pod("web-1", labels={"app": "web"}, conditions=[{"type": "Ready", "status": "False"}])
    deleted = make_pod("web-2", labels={"app": "web"})
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(KubeError, match="2 in all") as caught:
        _forward(_kube(pods=(unready, deleted)), service="web", port=80).open()
    assert caught.value.retryable


def test_port_without_a_target_port_keeps_its_number() -> None:
    kube = _kube(PodStream(_echo))
    with _forward(kube, service="web", port=81) as forward:
        _ask(forward.port)
    assert kube.opened[0][2] == 81


def test_local_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(KubeError, match=f"local port {port} for .* is taken"):
            _forward(_kube(), pod="web-1", port=80, local_port=port).open()


def test_close_ends_threads_and_connections() -> None:
    forward = _forward(_kube(PodStream(_echo)), pod="web-1", port=80).open()
    connection = socket.create_connection(("127.0.0.1", forward.port), timeout=5)
    connection.sendall(b"x")
    assert connection.recv(4096) == b"<x>"
    forward.close()
    forward.close()
    assert connection.recv(4096) == b""
    connection.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("port-forward")]


def test_exactly_one_target() -> None:
    with pytest.raises(TypeError):
        _forward(_kube(), port=80)
    with pytest.raises(TypeError):
        _forward(_kube(), port=80, pod="a", service="b")
