"""Commands inside a container, over one websocket: to their end, or streamed line by line.

The library's own `returncode` raises a TypeError after a cut connection and a KeyError for a failure
without a cause (a missing program), so the status is read here.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import websocket
from kubernetes.stream.ws_client import (
    ERROR_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    V5_CHANNEL_PROTOCOL,
)

from meshlab.core.errors import ExecError
from meshlab.kube.client import Kube
from meshlab.kube.streams import Stream, close_quietly

POLL = 0.2  # seconds between looks at the stop event and the deadline
CHUNK = 32 * 1024  # bytes of input per frame
TAIL = 2000  # characters of output that an error repeats
KEPT = 64 * 1024  # bytes of stderr that a streamed command keeps


@dataclass(frozen=True)
class ExecOutput:
    """What a command in a pod left: its output as text, return code, wall time in seconds.

    returncode is None only when the caller's stop event ended a streamed command.
    """

    stdout: str
    stderr: str
    returncode: int | None
    seconds: float


def run_in_pod(
    kube: Kube,
    namespace: str,
    pod: str,
    container: str | None,
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: str | bytes | None = None,
    check: bool = False,
) -> ExecOutput:
    """Run a command in a container to its end.

    Args:
        kube: Client of the cluster.
        namespace: Of the pod.
        pod: Its name.
        container: Its name; the only one where None.
        argv: Program and arguments.
        timeout: Seconds.
        stdin: Sent whole, then closed.
        check: Raise ExecError for a return code other than 0.

    Returns:
        Its output and return code.

    Raises:
        ExecError: The connection breaks or the deadline passes: there is no return code, and the command
            may still run in the pod; trying again may help. With `check`, a return code other than 0.
        KubeError: The API server refuses to start it.
    """
    out = bytearray()
    err = bytearray()
    data = stdin.encode() if isinstance(stdin, str) else stdin
    talk = _Talk(kube, namespace, pod, container, argv, out.extend, err.extend, time.monotonic() + timeout)
    code, seconds = talk.run(data)
    done = ExecOutput(out.decode(errors="replace"), err.decode(errors="replace"), code, seconds)
    if check and code != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-TAIL:]
        raise ExecError(
            f"{talk.where} ended with {code}: {said}",
            returncode=code,
            output=said,
            remedy="read its output above; the command can be run by hand with kubectl exec",
        )
    return done


def stream_in_pod(
    kube: Kube,
    namespace: str,
    pod: str,
    container: str | None,
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None],
    timeout: float,
    stop: threading.Event | None = None,
    stop_input: str | None = None,
    idle_timeout: float | None = None,
) -> ExecOutput:
    """Run a long command in a container and hand over each line of its standard output as it comes.

    A last line that was not finished is handed over too.

    Args:
        kube: Client of the cluster.
        namespace: Of the pod.
        pod: Its name.
        container: Its name; the only one where None.
        argv: Program and arguments.
        on_line: Called with each line, without its end.
        timeout: Seconds for the whole command.
        stop: When set, `stop_input` is written to the command's standard input, once, and its own end is
            awaited; without a stop_input the connection is closed at once (returncode None).
        stop_input: What ends the command by its own hand.
        idle_timeout: Seconds without any output.

    Returns:
        Its return code and the end of stderr; stdout is empty.
    """
    err = bytearray()

    def keep(data: bytes) -> None:
        err.extend(data)
        del err[:-KEPT]

    lines = _Lines(on_line)
    talk = _Talk(
        kube,
        namespace,
        pod,
        container,
        argv,
        lines.feed,
        keep,
        time.monotonic() + timeout,
        stop,
        stop_input,
        idle_timeout,
    )
    try:
        code, seconds = talk.run(None)
    finally:
        lines.finish()
    return ExecOutput("", err.decode(errors="replace"), code, seconds)


@dataclass
class _Talk:
    """One command's conversation with the API server, from its start to its status."""

    kube: Kube
    namespace: str
    pod: str
    container: str | None
    argv: Sequence[str]
    on_out: Callable[[bytes], None]
    on_err: Callable[[bytes], None]
    deadline: float  # monotonic
    stop: threading.Event | None = None
    stop_input: str | None = None
    idle_timeout: float | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def where(self) -> str:
        script = (
            list(self.argv[:2]) == ["sh", "-c"] and len(self.argv) > 3
        )  # its name says more than its text
        words = self.argv[3] if script else " ".join(self.argv)
        shown = words if len(words) <= 80 else words[:77] + "..."
        return f"{shown!r} in {self.namespace}/{self.pod}"

    def run(self, stdin: bytes | None) -> tuple[int | None, float]:
        """Start the command, talk until it ends, and return its return code and the seconds it took."""
        wants_input = stdin is not None or self.stop_input is not None
        ws = self.kube.open_exec(self.namespace, self.pod, self.container, self.argv, stdin=wants_input)
        try:
            if stdin is not None:
                self._send(ws, stdin)
            stopped = self._listen(ws)
            if stopped:
                return None, time.monotonic() - self.started
            with self._connection():
                status = ws.read_channel(ERROR_CHANNEL)
            return self._returncode(status), time.monotonic() - self.started
        finally:
            close_quietly(ws)

    def _send(self, ws: Stream, data: bytes) -> None:
        if ws.subprotocol != V5_CHANNEL_PROTOCOL:
            raise self._cut("this API server can't close a command's input", "use Kubernetes 1.30 or newer")
        for start in range(0, len(data), CHUNK):
            with self._connection():
                ws.write_channel(STDIN_CHANNEL, data[start : start + CHUNK])
            self._read(ws, 0)  # so that neither side waits for the other with full buffers
        with self._connection():
            ws.close_channel(STDIN_CHANNEL)

    def _listen(self, ws: Stream) -> bool:
        """Hand over output until the command ends (False) or the stop event closes the connection (True)."""
        heard, told = time.monotonic(), False
        while ws.is_open():
            if self.stop is not None and self.stop.is_set() and not told:
                if self.stop_input is None:
                    return True
                with self._connection():
                    ws.write_channel(STDIN_CHANNEL, self.stop_input.encode())
                told = True
            if self._read(ws, POLL):
                heard = time.monotonic()
            now = time.monotonic()
            if now >= self.deadline:
                raise self._cut(
                    f"ran past its deadline after {now - self.started:.0f} s", "give it more time"
                )
            if self.idle_timeout is not None and now - heard >= self.idle_timeout:
                raise self._cut(f"said nothing for {now - heard:.0f} s", "look at the pod and its node")
        self._read(ws, 0)
        return False

    def _read(self, ws: Stream, timeout: float) -> bool:
        got = False
        with self._connection():
            ws.update(timeout=timeout)
        for channel, sink in ((STDOUT_CHANNEL, self.on_out), (STDERR_CHANNEL, self.on_err)):
            with self._connection():
                data = ws.read_channel(channel)
            if data:
                got = True
                sink(data)
        return got

    @contextmanager
    def _connection(self) -> Iterator[None]:
        """What the websocket raises becomes an ExecError; what a listener of ours raises passes."""
        try:
            yield
        except (websocket.WebSocketException, OSError) as problem:
            raise self._cut(f"lost its connection ({problem})", "run the step again") from problem

    def _cut(self, what: str, remedy: str) -> ExecError:
        return ExecError(f"{self.where} {what}; it may still run in the pod", remedy=remedy)

    def _returncode(self, status: bytes | str) -> int:
        """The return code in a command's final Status. Raises ExecError where there is none."""
        try:
            answer = json.loads(status)
        except ValueError:
            raise self._cut("lost its connection before it told how it ended", "run the step again") from None
        if answer.get("status") == "Success":
            return 0
        for cause in answer.get("details", {}).get("causes") or []:
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        problem = ExecError(
            f"{self.where} was not run: {answer.get('message', 'no reason given')}",
            remedy="check that the container runs and has this program",
        )
        problem.retryable = not any(
            t in problem.message for t in ("executable file not found", "no such file")
        )
        raise problem


class _Lines:
    """Cuts a stream of bytes into lines of text."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))

    def finish(self) -> None:
        if self._rest:
            self._on_line(self._rest.decode(errors="replace"))
            self._rest = b""
