"""A local port that leads to a pod: one stream of the API per TCP connection, the pod looked up anew for each.

The library forwards one connection per call and hands out half of a socket pair; the thread behind it can
end without closing it (a reset of the connection) and drops what it has not passed on yet. So the frames
are pumped here.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import websocket

from meshlab.core.address import host_port
from meshlab.core.errors import KubeError, MeshlabError
from meshlab.kube.client import Kube
from meshlab.kube.pods import condition
from meshlab.kube.streams import Stream, close_quietly

log = logging.getLogger(__name__)
DATA_CHANNEL, ERROR_CHANNEL = 0, 1
PORT_FRAME = 2  # bytes at the start of each channel that repeat the port's number
READ_SIZE = 64 * 1024
POLL_MS = 500
ENDED = ("connection reset by peer", "broken pipe")  # of one connection, by the server behind it
SEND_TIMEOUT = 30.0  # seconds for a local client to take what it is sent


class PortForward:
    """A listener on 127.0.0.1 whose connections end in a pod. A context manager; usable by several threads.

    namespace, port: where it leads. Exactly one of pod (its name), selector (a label selector: any Ready
    pod) or service (its port is mapped to the pod's as the Service says). local_port: 0 takes a free one.
    Each new connection looks the pod up again, so a pod that was replaced is followed; a cut stream ends
    only its own connection. Connections close as a whole: half-closed ones are not kept.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        port: int,
        pod: str | None = None,
        selector: str | None = None,
        service: str | None = None,
        local_port: int = 0,
    ) -> None:
        if sum(each is not None for each in (pod, selector, service)) != 1:
            raise TypeError("name exactly one of pod, selector and service")
        self._kube = kube
        self._namespace, self._remote = namespace, port
        self._pod, self._selector, self._service = pod, selector, service
        self._local_port = local_port
        self._listener: socket.socket | None = None
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.last_error: MeshlabError | None = None

    @property
    def target(self) -> str:
        """Where it leads, for messages."""
        name = f"svc/{self._service}" if self._service else (self._pod or f"pods {self._selector}")
        return f"{self._namespace}/{name}:{self._remote}"

    @property
    def port(self) -> int:
        """The local port, once opened."""
        if self._listener is None:
            raise RuntimeError("the port-forward is not open")
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The local address, as http://127.0.0.1:<port>."""
        return f"http://{host_port('127.0.0.1', self.port)}"

    def open(self) -> PortForward:
        """Find the target and listen.

        Raises KubeError when no Ready pod is there or the local port is taken.
        """
        self._find()
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._local_port))
            listener.listen(64)
        except OSError as problem:
            listener.close()
            why = "is taken" if problem.errno == errno.EADDRINUSE else f"can't be opened: {problem}"
            raise KubeError(
                f"local port {self._local_port} for {self.target} {why}",
                remedy="end the program that listens there, or choose another port (0 takes a free one)",
            ) from problem
        listener.settimeout(POLL_MS / 1000)
        self._listener = listener
        self._start(f"port-forward {self.target}", self._accept)
        return self

    def close(self) -> None:
        """Stop listening and end every connection. May be called twice."""
        self._closing.set()
        with self._lock:
            threads, open_ends = list(self._threads), list(self._connections)
        for end in [*open_ends, *([self._listener] if self._listener is not None else [])]:
            with suppress(OSError):  # ended by itself in the meantime
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it; a close would not
        for thread in threads:
            thread.join(timeout=2 * POLL_MS / 1000)
        if self._listener is not None:
            self._listener.close()

    def __enter__(self) -> PortForward:
        return self.open()

    def __exit__(self, *error: object) -> None:
        self.close()

    # ── threads ──

    def _start(self, name: str, work: Any, *args: Any) -> None:
        def run() -> None:
            try:
                work(*args)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # closing
            self._start(f"port-forward {self.target} connection", self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, self._kept(connection):
            try:
                ws = self._connect()
            except MeshlabError as problem:
                self._note(problem)
                return
            try:
                connection.settimeout(SEND_TIMEOUT)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _pump(connection, ws, self._closing)
            except KubeError as problem:
                self._note(problem)
            except (websocket.WebSocketException, OSError) as problem:
                log.debug("port-forward %s: a connection broke: %s", self.target, problem)
            finally:
                with suppress(OSError):  # the client hears of it now, not after the stream's farewell
                    connection.shutdown(socket.SHUT_RDWR)
                close_quietly(ws)

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[None]:
        """Keep a connection where close() finds it."""
        with self._lock:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _connect(self) -> Stream:
        """Open a stream to the target's present pod.

        A pod that vanished since it was looked up is looked up once more.
        """
        try:
            return self._kube.open_portforward(self._namespace, *self._find())
        except KubeError as problem:
            if self._pod is not None or not (problem.retryable or problem.status == 404):
                raise
            return self._kube.open_portforward(self._namespace, *self._find())

    def _note(self, problem: MeshlabError) -> None:
        """Keep why a connection was refused, and log it once.

        A client that waits for a new pod asks often.
        """
        known = self.last_error is not None and self.last_error.message == problem.message
        self.last_error = problem
        log.log(
            logging.DEBUG if known else logging.WARNING, "port-forward %s: %s", self.target, problem.message
        )

    # ── the target ──

    def _find(self) -> tuple[str, int]:
        """Name and port of the pod to connect to."""
        if self._pod is not None:
            return self._pod, self._remote
        selector, wanted = self._selector, str(self._remote)
        if self._service is not None:
            selector, wanted = self._service_target(self._service)
        pods = self._kube.objects("v1", "Pod", self._namespace, selector=selector)
        ready = [p for p in pods if condition(p, "Ready").get("status") == "True" and not _deleting(p)]
        if not ready:
            raise KubeError(
                f"no pod of {self.target} is Ready ({len(pods)} in all)",
                remedy=f"look at them: kubectl -n {self._namespace} get pods -l {selector}",
                retryable=True,
            )
        chosen = min(ready, key=lambda pod: str(pod["metadata"]["name"]))
        return chosen["metadata"]["name"], _container_port(chosen, wanted)

    def _service_target(self, name: str) -> tuple[str, str]:
        """The label selector of a Service, and the pod's port (number or name) that its port leads to."""
        service = self._kube.get("v1", "Service", name, self._namespace)
        if service is None:
            raise KubeError(
                f"there is no service {name} in {self._namespace}", status=404, remedy="deploy it first"
            )
        spec = service["spec"]
        ports = {p["port"]: str(p.get("targetPort", p["port"])) for p in spec.get("ports", [])}
        if self._remote not in ports or not spec.get("selector"):
            raise KubeError(
                f"service {self._namespace}/{name} leads no port {self._remote} to pods: {sorted(ports)}",
                remedy="choose one of its ports, or name the pod",
            )
        return ",".join(f"{k}={v}" for k, v in spec["selector"].items()), ports[self._remote]


def _deleting(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _container_port(pod: dict[str, Any], wanted: str) -> int:
    if wanted.isdigit():
        return int(wanted)
    spec = pod["spec"]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        for port in container.get("ports", []):
            if port.get("name") == wanted:
                return int(port["containerPort"])
    raise KubeError(
        f"pod {pod['metadata']['name']} has no port named {wanted}", remedy="correct the Service's targetPort"
    )


def _pump(connection: socket.socket, ws: Stream, closing: threading.Event) -> None:
    """Pass bytes both ways until either side closes.

    One thread: a TLS socket must not be used by two at a time. Raises KubeError with the text of the stream's
    error channel (nothing listens on that port, for one), and ConnectionResetError where that text says that
    the server has ended the connection.
    """
    wire = ws.sock.sock
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(wire, select.POLLIN)
    skip = {DATA_CHANNEL: PORT_FRAME, ERROR_CHANNEL: PORT_FRAME}
    while not closing.is_set():
        pending = isinstance(wire, ssl.SSLSocket) and wire.pending() > 0
        events = dict(poll.poll(0 if pending else POLL_MS))
        if pending or wire.fileno() in events:
            lost: Exception | None = None
            try:
                ws.update(timeout=0)
            except (websocket.WebSocketException, OSError) as problem:
                lost = problem  # what came before it is still to be passed on
            for channel in (DATA_CHANNEL, ERROR_CHANNEL):
                data = _taken(ws, channel, skip)
                if data and channel == DATA_CHANNEL:
                    connection.sendall(data)
                elif data:
                    raise _end_of_pod(data.decode(errors="replace").strip())
            if lost is not None:
                raise lost
            if not ws.is_open():
                return
        if connection.fileno() in events:
            data = connection.recv(READ_SIZE)
            if not data:
                return
            ws.write_channel(DATA_CHANNEL, data)


def _end_of_pod(said: str) -> Exception:
    """Say what the text on the error channel means.

    A server that closed a connection has answered: nothing is wrong with the path to it.
    """
    if said.endswith(ENDED):
        return ConnectionResetError(said)
    return KubeError(f"the pod's end failed: {said}", retryable=True)


def _taken(ws: Stream, channel: int, skip: dict[int, int]) -> bytes:
    """What a channel has received, without the port number that starts it."""
    data: bytes = ws._channels.pop(channel, b"")  # read_channel() would read from the network again
    cut = min(skip[channel], len(data))
    skip[channel] -= cut
    return data[cut:]
