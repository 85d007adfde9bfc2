"""The traffic that Istio's dashboards need beside the loop from sleep to productpage.

Their panels tell apart HTTP with and without mTLS, TCP with and without, and what comes through the
ingress gateway. None of it is counted as sleep's calls of productpage, so it does not disturb their
reconciliation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshlab.app.bookinfo import PAGE_PATH, PORT, PRODUCTPAGE, REVIEWS_V3, SLEEPER
from meshlab.app.loop import RequestLoop, TrafficResult
from meshlab.app.metrics_server import MetricsServer
from meshlab.app.script import ECHOED, TCP
from meshlab.app.source import find_source
from meshlab.app.traffic_clients import CALLER, TCP_ECHO, ingress_host
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import MeshlabError
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube

ANY = "any"  # wanted: whatever the server says
REFUSED = "000"  # curl's status where nothing was heard
INTERVAL = 1.0  # seconds between the requests of a stream: two in each scrape of ours is enough for a rate


@dataclass(frozen=True)
class Stream:
    """One of the loops. selector: labels of the pod that sends. url: as that pod asks for it.

    interval: seconds between requests. any_answer: an HTTP status tells that it was heard, whatever it says.
    """

    name: str
    selector: str
    url: str
    interval: float = INTERVAL
    any_answer: bool = False

    @property
    def wanted(self) -> str:
        """The status of a request that went well."""
        if self.any_answer:
            return ANY
        return ECHOED if self.url.startswith(TCP) else "200"


@dataclass(frozen=True)
class BackgroundResult:
    """What the streams sent, by their names."""

    streams: Mapping[str, TrafficResult]
    wanted: Mapping[str, str]

    def well(self, name: str) -> int:
        """Count the requests of a stream that went well."""
        seen, wanted = self.streams[name].by_status, self.wanted[name]
        if wanted == ANY:
            return sum(count for status, count in seen.items() if status != REFUSED)
        return seen.get(wanted, 0)

    @property
    def sent(self) -> int:
        """Requests and connections of all streams."""
        return sum(result.sent for result in self.streams.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """Streams that sent nothing that went well, and those whose counts may be wrong."""
        found = []
        for name, result in self.streams.items():
            if not self.well(name):
                found.append(f"{name}: none of {result.sent} went well, {dict(result.by_status)}")
            found += [f"{name}: {error}" for error in result.errors]
        return tuple(found)

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {self.well(name)} of {result.sent}" for name, result in self.streams.items()
        )


def streams(config: LabConfig, mesh: Mesh, prometheus: MetricsServer | None) -> tuple[Stream, ...]:
    """List the streams of a run; the one through the ingress gateway only where its route could be made.

    Args:
        config: The settings of the run.
        mesh: The facts of the mesh.
        prometheus: The mesh's, where a sidecar can call it in plaintext; without one there is no such stream.

    Returns:
        The streams.
    """
    namespace = config.namespace
    page = f"http://{host_port(f'{PRODUCTPAGE.app}.{namespace}.svc', PORT)}{PAGE_PATH}"
    reviews = f"http://{host_port(f'{REVIEWS_V3.app}.{namespace}.svc', PORT)}/reviews/0"  # one of its three versions answers
    echo = TCP + host_port(f"{TCP_ECHO.name}.{namespace}.svc", TCP_ECHO.port)
    # It has no sidecar: the one HTTP server that is there in every lab and that a sidecar calls in plaintext. One that
    # wants a password answers, too.
    outside = (
        [Stream("http-plaintext-out", SLEEPER.selector, prometheus.ready_url, any_answer=True)]
        if prometheus
        else []
    )
    ingress = Stream("http-ingress", CALLER.selector, f"http://{ingress_host(mesh)}{PAGE_PATH}")
    through = (ingress,) if config.scope == "mesh" else ()
    return (
        Stream("http-plaintext-page", CALLER.selector, page),
        Stream("http-plaintext-reviews", CALLER.selector, reviews, INTERVAL / 2),
        *outside,
        Stream("tcp-mtls", SLEEPER.selector, echo),
        Stream("tcp-plaintext", CALLER.selector, echo),
        *through,
    )


class BackgroundTraffic:
    """All streams at once, each a `RequestLoop`. A context manager that starts and drains; used once.

    Raises KubeError (retryable) when a pod that sends is not Ready.
    """

    def __init__(self, kube: Kube, namespace: str, wanted: Sequence[Stream]) -> None:
        self._streams = {stream.name: stream for stream in wanted}
        sources = {each.selector: find_source(kube, namespace, each.selector) for each in wanted}
        self._loops = {
            stream.name: RequestLoop(kube, sources[stream.selector], stream.url, interval=stream.interval)
            for stream in wanted
        }

    def start(self) -> BackgroundTraffic:
        """Start every stream; when one can't be started, those before it are ended.

        Raises KubeError, ExecError.
        """
        begun: list[RequestLoop] = []
        try:
            for loop in self._loops.values():
                loop.start()
                begun.append(loop)
        except MeshlabError:
            for loop in begun:
                loop.stop_and_drain()
            raise
        return self

    def stop_and_drain(self) -> BackgroundResult:
        """End every stream after its request under way, and return what was sent. May be called twice."""
        for loop in self._loops.values():
            loop.ask_to_stop()
        return self._result({name: loop.stop_and_drain() for name, loop in self._loops.items()})

    def snapshot(self) -> BackgroundResult:
        """What is known now."""
        return self._result({name: loop.snapshot() for name, loop in self._loops.items()})

    @property
    def running(self) -> bool:
        """Whether every stream still sends."""
        return all(loop.running for loop in self._loops.values())

    def _result(self, results: Mapping[str, TrafficResult]) -> BackgroundResult:
        return BackgroundResult(
            dict(results),
            {name: stream.wanted for name, stream in self._streams.items()},
        )

    def __enter__(self) -> BackgroundTraffic:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop_and_drain()
