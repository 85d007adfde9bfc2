"""Captures in pods: an ephemeral container with the right to raw sockets, and our counting program in it.

It works on clusters whose nodes can't be entered. The container idles; each capture is a command in it, so
one container serves several windows. It ends with `end`, or by itself after LIFETIME.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from meshlab.core.errors import ExecError, KubeError
from meshlab.kube.client import Kube
from meshlab.kube.ephemeral import attach, security_context
from meshlab.kube.exec import run_in_pod, stream_in_pod
from meshlab.kube.pods import PodSummary

WIRE, APP = "eth0", "lo"
OFFICIAL_PYTHON = "python:3.13-alpine"  # of the capture's container, where the images are official
LIFETIME = 600  # seconds after which the idling container ends by itself
START_TIMEOUT = 60.0  # seconds until the container runs
LISTEN_TIMEOUT = 20.0  # seconds until the capture listens
IDLE = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"  # process 1 has no default action
    f"time.sleep({LIFETIME})"
)
END = "import os, signal; os.kill(1, signal.SIGTERM)"


@dataclass(frozen=True)
class Seen:
    """What passed between a pod's port and one peer. marker: how often the marker was there in clear.

    bytes: of the IP packets. tls_records, http: segments that begin with a TLS record, or an HTTP message.
    """

    packets: int = 0
    bytes: int = 0
    payload: int = 0
    tls_records: int = 0
    http: int = 0
    marker: int = 0


@dataclass(frozen=True)
class Captured:
    """One pod's window. wire: by the peer's address. app: the last hop to the application. interfaces: of both.

    drops: packets that the kernel had no room for: the counts are then too low. to_the_end: it was told to
    stop, and did not run out of time before.
    """

    pod: str
    interfaces: tuple[str, str]
    wire: Mapping[str, Seen]
    app: Seen
    drops: int
    to_the_end: bool = True


@dataclass(frozen=True)
class CapturePlace:
    """A pod in which captures can be made. container: the ephemeral container's name."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True)
class Target:
    """What a capture looks at: the place, the port that its pod serves, and the addresses of its peers."""

    place: CapturePlace
    port: int
    peers: tuple[str, ...]


def add_container(
    kube: Kube, pod: PodSummary, image: str, capabilities: Sequence[str] = ("NET_RAW",)
) -> CapturePlace:
    """Add the idling container to a pod and wait until it runs.

    Args:
        kube: Client of the cluster.
        pod: The pod.
        image: Of the container; it holds Python.
        capabilities: That the container gets.

    Returns:
        The place for captures.

    Raises:
        KubeError: The cluster forbids it (status 403), or the image can't be had.
        WaitTimeout: The container does not start in time.
    """
    place = CapturePlace(pod.namespace, pod.name, f"meshlab-capture-{secrets.token_hex(3)}")
    container = {
        "name": place.container,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", IDLE],
        "securityContext": security_context(capabilities),
    }
    attach(kube, pod.namespace, pod.name, container, timeout=START_TIMEOUT)
    return place


def end(kube: Kube, places: Sequence[CapturePlace]) -> None:
    """End the idling containers; their pods keep them as terminated.

    Args:
        kube: Client of the cluster.
        places: The containers.

    Raises:
        ExecError: A connection broke.
        KubeError: The API refuses the command.
    """

    def leave(place: CapturePlace) -> None:
        run_in_pod(
            kube, place.namespace, place.pod, place.container, ["python3", "-c", END], timeout=LISTEN_TIMEOUT
        )

    with ThreadPoolExecutor(max_workers=max(len(places), 1)) as pool:
        list(pool.map(leave, places))


@dataclass
class Captures:
    """Captures in several pods at once: entering returns when all of them listen, `stop` when all have told.

    marker: the text that is looked for. interfaces: of the wire and of the application's hop. seconds: after
    which they end by themselves. Raises ExecError; KubeError with status 403 where raw sockets are refused.
    """

    kube: Kube
    targets: Sequence[Target]
    marker: str
    interfaces: tuple[str, str] = (WIRE, APP)
    seconds: float = 60.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _pool: ThreadPoolExecutor | None = None
    _running: list[Future[Captured]] = field(default_factory=list)

    def __enter__(self) -> Captures:
        self._pool = ThreadPoolExecutor(max_workers=max(len(self.targets), 1), thread_name_prefix="capture")
        listening = [threading.Event() for _ in self.targets]
        self._running = [
            self._pool.submit(self._capture, target, event)
            for target, event in zip(self.targets, listening, strict=True)
        ]
        for target, event in zip(self.targets, listening, strict=True):
            if not event.wait(LISTEN_TIMEOUT):
                self.__exit__()
                raise ExecError(
                    f"the capture in {target.place.pod} did not listen within {LISTEN_TIMEOUT:.0f} s",
                    remedy="look at the pod's node: it may have no room for another process",
                )
        return self

    def stop(self) -> tuple[Captured, ...]:
        """End the captures and return what they saw, in the order of the targets. Raises ExecError, KubeError."""
        self._stop.set()
        return tuple(each.result() for each in self._running)

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _capture(self, target: Target, listening: threading.Event) -> Captured:
        wanted = {
            "wire": self.interfaces[0],
            "app": self.interfaces[1],
            "port": target.port,
            "peers": list(target.peers),
            "marker": self.marker,
            "seconds": self.seconds,
        }
        lines: list[str] = []

        def heard(line: str) -> None:
            lines.append(line)
            if line.strip() == "listening":
                listening.set()

        try:
            done = stream_in_pod(
                self.kube,
                target.place.namespace,
                target.place.pod,
                target.place.container,
                ["python3", "-c", program("capture_program"), json.dumps(wanted)],
                on_line=heard,
                timeout=self.seconds + LISTEN_TIMEOUT,
                stop=self._stop,
                stop_input="\n",
            )
        finally:
            listening.set()  # whoever waits for it finds the failure in the result
        if done.returncode != 0 or not lines:
            raise _refused(target.place.pod, done.stderr)
        return parse(target.place.pod, lines[-1])


def program(name: str) -> str:
    """The source of a program that is run inside pods."""
    return files("meshlab.security.mtls").joinpath(f"{name}.py").read_text(encoding="utf-8")


def parse(pod: str, text: str) -> Captured:
    """Read the answer of the capture program.

    Args:
        pod: That it captured in.
        text: The answer.

    Returns:
        What it saw.

    Raises:
        ExecError: It is no answer of the program.
    """
    try:
        answer: Mapping[str, Any] = json.loads(text)
        wire, app = answer["wire"], answer["app"]
        return Captured(
            pod=pod,
            interfaces=(wire["interface"], app["interface"]),
            wire={peer: Seen(**counts) for peer, counts in wire["peers"].items()},
            app=Seen(**app["peers"].get("", {})),
            drops=wire["drops"] + app["drops"],
            to_the_end=bool(answer["stopped"]),
        )
    except (ValueError, KeyError, TypeError) as problem:
        raise ExecError(
            f"the capture in {pod} answered {text[:200]!r}", output=text, remedy="run the check again"
        ) from problem


def _refused(pod: str, said: str) -> Exception:
    last = said.strip().splitlines()[-1] if said.strip() else "nothing"
    if "PermissionError" in said:
        return KubeError(
            f"raw sockets are refused in {pod}: {last}",
            status=403,
            remedy="allow the capability NET_RAW for ephemeral containers of the namespace",
        )
    return ExecError(f"the capture in {pod} failed: {last}", output=said, remedy="run the check again")
