"""Plain HTTP from a pod without a sidecar, and what the server's application heard of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from meshlab.app.bookinfo import PAGE_PATH
from meshlab.app.once import RoundResult, ask_each
from meshlab.app.source import Source, first_application_container
from meshlab.core.address import host_port
from meshlab.core.waiting import Clock, wait
from meshlab.envoy.admin import CLUSTERS_PATH, CLUSTERS_QUERY, PROXY_PORT, Pages, read_clusters
from meshlab.kube.client import Kube
from meshlab.security.mtls.edges import Edge

LOG_LINES = 4000
PATHS = {"productpage": PAGE_PATH, "details": "/details/0", "reviews": "/reviews/0", "ratings": "/ratings/0"}


@dataclass(frozen=True)
class ServerPath:
    """One path to a server: by the name of its service, or by the address of a pod.

    pods: whose applications may hear of it. url: without the marker.
    """

    server: str
    by: str
    url: str
    pods: tuple[str, ...]

    @property
    def name(self) -> str:
        """The path in words, such as `details by service`."""
        return f"{self.server} by {self.by}"


@dataclass(frozen=True)
class Round:
    """What came of the same requests over every path.

    heard: path's name → lines with its marker in the logs of the applications. handed: pod → requests that its
    sidecar handed to the application meanwhile, over all paths, those of others included. denied: path's name → the
    DENY policy of others that refuses every request over it, mutual TLS or not.
    """

    paths: tuple[tuple[ServerPath, RoundResult], ...]
    heard: Mapping[str, int]
    handed: Mapping[str, int]
    denied: Mapping[str, str] = field(default_factory=dict)

    def handed_to(self, pods: Sequence[str]) -> int:
        """Requests handed to the applications of these pods."""
        return sum(self.handed[pod] for pod in pods)


def paths(edges: Sequence[Edge], namespace: str) -> tuple[ServerPath, ...]:
    """List the paths to every workload that serves: by service name and by pod address.

    Args:
        edges: Who serves.
        namespace: The app's.

    Returns:
        The paths, those by service first.
    """
    found: dict[str, ServerPath] = {}
    pods: dict[str, list[str]] = {edge.target.app: [] for edge in edges}
    for edge in edges:
        pods[edge.target.app].append(edge.target_pod.name)
    for edge in edges:
        path, port = PATHS[edge.target.app], edge.target.port
        host = f"{edge.target.app}.{namespace}.svc"
        behind = tuple(dict.fromkeys(pods[edge.target.app]))
        found[host] = ServerPath(edge.target.app, "service", f"http://{host_port(host, port)}{path}", behind)
        ip = edge.target_pod.ip
        found[ip] = ServerPath(
            edge.target.name, "pod IP", f"http://{host_port(ip, port)}{path}", (edge.target_pod.name,)
        )
    return tuple(sorted(found.values(), key=lambda path: (path.by != "service", path.server)))


def plaintext_round(
    kube: Kube,
    pages: Pages,
    source: Source,
    edges: Sequence[Edge],
    number: int,
    marker: str,
    *,
    clock: Clock | None = None,
) -> Round:
    """Send plain HTTP over every path to every server, `number` times each, and count what arrived.

    source: a container outside the mesh. marker: put into each URL, new for each round. Raises ExecError,
    KubeError, QueryError.
    """
    wanted = paths(edges, source.namespace)
    marks = {path.name: f"{marker}.{number_of}." for number_of, path in enumerate(wanted)}
    pods = sorted({pod for path in wanted for pod in path.pods})
    before = {pod: handed_over(pages, source.namespace, pod) for pod in pods}
    asked = ask_each(kube, source, [f"{path.url}?marker={marks[path.name]}" for path in wanted], number)
    after = {pod: handed_over(pages, source.namespace, pod) for pod in pods}
    logs = _logs(kube, source.namespace, pods, marker, clock)
    return Round(
        paths=tuple(zip(wanted, asked, strict=True)),
        heard={path.name: sum(logs[pod].count(marks[path.name]) for pod in path.pods) for path in wanted},
        handed={pod: after[pod] - before[pod] for pod in pods},
    )


def handed_over(pages: Pages, namespace: str, pod: str) -> int:
    """Requests that the pod's sidecar has handed to its application so far (Envoy's inbound clusters)."""
    clusters = read_clusters(pages.json(namespace, pod, PROXY_PORT, CLUSTERS_PATH, CLUSTERS_QUERY))
    return sum(
        each.attempts.total
        for name, hosts in clusters.items()
        if name.startswith("inbound|")
        for each in hosts
    )


def _logs(
    kube: Kube, namespace: str, pods: Sequence[str], marker: str, clock: Clock | None
) -> dict[str, str]:
    """Read the applications' logs, once two reads in a row hold as many markers.

    A log comes a little later than the answer.
    """
    containers = {
        pod.name: first_application_container(pod.containers)
        for pod in kube.pods(namespace)
        if pod.name in pods
    }
    counts: list[int] = []

    def read() -> dict[str, str]:
        logs = {pod: kube.pod_log(namespace, pod, containers.get(pod), lines=LOG_LINES) for pod in pods}
        counts.append(sum(log.count(marker) for log in logs.values()))
        return logs

    return wait(
        "the applications' logs to stand still",
        read,
        ready=lambda _: counts[-1:] == counts[-2:-1],
        describe=lambda _: f"{counts[-1]} marked lines",
        timeout=15,
        delay=0.3,
        clock=clock,
    )
