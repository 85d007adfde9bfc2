"""A proxy on loopback in front of a real server, which can hold every answer back, or drop every connection."""

from __future__ import annotations

import select
import socket
import threading
import time
from types import TracebackType


class SlowProxy:
    """Hands TCP connections on to a port of this machine.

    delay: seconds for which each answer is held back. dropped: connections are closed at once, open ones too. Both may
    be changed at any time. A context manager; leaving it ends every connection.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.delay, self.dropped = 0.0, False
        self.held_back = 0  # answers that had to wait

    def __enter__(self) -> SlowProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if self.dropped:
                return
            with socket.create_connection(self._target) as server:
                while not self._ended.is_set() and not self.dropped:
                    readable, _, _ = select.select([client, server], [], [], 0.2)
                    for source in readable:
                        data = source.recv(65536)
                        if not data:
                            return
                        if source is server and self.delay:
                            self.held_back += 1
                            self._hold(self.delay)
                        (server if source is client else client).sendall(data)

    def _hold(self, seconds: float) -> None:
        """Wait, but not past the end of what holds answers back."""
        until = time.monotonic() + seconds
        while self.delay and time.monotonic() < until and not self._ended.wait(0.1):
            pass
