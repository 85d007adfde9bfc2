"""Websockets to a pod: opened within a deadline, closed whatever state they are in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol, cast

import websocket
from kubernetes import client
from kubernetes.stream import stream

from meshlab.kube.timed import READ_TIMEOUT

log = logging.getLogger(__name__)
OPEN_TIMEOUT = 15.0  # seconds


class Stream(Protocol):
    """What is used of the library's WSClient, which has no types: an open stream with numbered channels."""

    sock: Any
    subprotocol: str | None
    _channels: dict[int, bytes]

    def is_open(self) -> bool:
        """Whether the other side has not closed it."""

    def update(self, timeout: float = 0) -> None:
        """Read one frame into its channel. timeout: seconds to wait for it."""

    def read_channel(self, channel: int) -> bytes:
        """Take what a channel has received."""

    def write_channel(self, channel: int, data: bytes) -> None:
        """Send data in a channel."""

    def close_channel(self, channel: int) -> None:
        """Tell the other side that nothing more comes in a channel."""

    def close(self, *, timeout: float = 0) -> None:
        """Close the stream. timeout: seconds for the other side's answer."""


def open_in_time(
    configuration: client.Configuration,
    doing: str,
    method: str,
    pod: str,
    namespace: str,
    options: Mapping[str, Any],
) -> Stream:
    """Open a websocket within OPEN_TIMEOUT.

    The library sets no deadline, and a stuck kubelet would hold us for good. It swaps a method of the ApiClient
    while it opens a stream, so each stream gets a client of its own.

    Args:
        configuration: Of the client.
        doing: What is being done, for the thread's name.
        method: Of CoreV1Api; it opens the stream.
        pod: The pod.
        namespace: Where it is.
        options: Of the method.

    Returns:
        The open stream.

    Raises:
        TimeoutError: It did not open in time; what the library raises passes, too.
    """
    opened: Future[Stream] = Future()

    def work() -> None:
        try:
            connect = getattr(client.CoreV1Api(client.ApiClient(configuration)), method)
            found = stream(connect, pod, namespace, **options, binary=True, _preload_content=False)
            opened.set_result(cast(Stream, found))
        except Exception as problem:  # noqa: BLE001 (handed to the caller by the future)
            opened.set_exception(problem)

    threading.Thread(target=work, name=doing, daemon=True).start()
    try:
        ws = opened.result(timeout=OPEN_TIMEOUT)
    except TimeoutError:
        opened.add_done_callback(_close_late)
        raise TimeoutError(f"no stream within {OPEN_TIMEOUT:.0f} s") from None
    ws.sock.settimeout(READ_TIMEOUT)  # bounds a frame that stops half way; waiting for a frame is polled
    return ws


def close_quietly(ws: Stream, timeout: float = 1.0) -> None:
    """Close a stream whatever state it is in.

    Args:
        ws: The stream.
        timeout: Seconds for the other side's answer.
    """
    try:
        ws.close(timeout=timeout)
    except (websocket.WebSocketException, OSError, ValueError) as problem:
        log.debug("closing a stream: %s", problem)


def _close_late(opened: Future[Stream]) -> None:
    if opened.exception() is None:
        close_quietly(opened.result())
