"""Kiali, from the addon manifest that Istio ships, where its image can be had: no build of ours stands for
it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError
from meshlab.core.progress import Progress, silent
from meshlab.core.waiting import Clock, wait, wait_or_last
from meshlab.istio.distribution import Distribution
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef, delete, read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.observability.addons import shipped
from meshlab.observability.addons.kiali_client import TIMEOUT, KialiClient
from meshlab.observability.graph.metrics import Key
from meshlab.report.material import ServiceGraph

__all__ = [
    "KialiClient",
    "client",
    "deploy",
    "manifest",
    "port_forward",
    "remove",
    "wait_answering",
    "wait_for_edges",
    "why_not",
]

NAME, PORT = "kiali", 20001
MANIFEST = "addons/kiali.yaml"  # in the distribution's samples


def manifest(distribution: Distribution) -> list[dict[str, Any]]:
    """The addon's objects, unchanged. Raises InputError for a manifest that can't be read."""
    return read_manifests(distribution.samples / MANIFEST)


def why_not(config: LabConfig, distribution: Distribution, kube: Kube, held: Sequence[str] = ()) -> str:
    """Why Kiali can't run here, for the skip's reason; "" where it can, or runs already.

    held: references of the images that the cluster was given, by image archives say.
    """
    return shipped.why_not(config, kube, NAME, manifest(distribution), held)


def deploy(
    config: LabConfig,
    distribution: Distribution,
    kube: Kube,
    *,
    held: Sequence[str] = (),
    progress: Progress = silent,
) -> tuple[ObjectRef, ...]:
    """Apply the addon and wait until it is Ready (its own probe begins after 30 s); returns what was applied.

    On a cluster that is not ours a Kiali that is there is used as it is, and nothing is applied. Raises
    IstioError where it can't run (ask `why_not` before), RolloutError with the cause, KubeError.
    """
    reason = why_not(config, distribution, kube, held)
    if reason:
        raise IstioError(f"Kiali can't run here: {reason}", remedy="name an archive of its image, or skip it")
    refs = () if shipped.is_theirs(config, kube, NAME) else shipped.put(kube, NAME, manifest(distribution))
    shipped.wait_ready(config, kube, NAME, progress)
    return refs


def remove(kube: Kube, refs: Sequence[ObjectRef], *, timeout: float = 60) -> None:
    """Delete what `deploy` applied. Running it twice is fine. Raises WaitTimeout, KubeError."""
    delete(kube, refs, timeout=timeout)


def port_forward(kube: Kube, namespace: str = SYSTEM_NAMESPACE) -> PortForward:
    """A local port that leads to Kiali's page and API."""
    return PortForward(kube, namespace=namespace, port=PORT, service=NAME)


def client(forward: PortForward, *, timeout: float = TIMEOUT) -> KialiClient:
    """A client behind an open port-forward, whose errors name why that leads nowhere. timeout: seconds."""
    return KialiClient(forward.url, timeout=timeout, why=lambda: shipped.why_unreachable(forward))


def wait_answering(asked: KialiClient, *, timeout: float, clock: Clock | None = None) -> None:
    """Wait until Kiali answers. Raises WaitTimeout, or QueryError for a version that is not read here."""
    wait(
        f"Kiali at {asked.url} to answer",
        asked.version,
        ready=lambda _: True,
        timeout=timeout,
        remedy="look at the log of its pod",
        clock=clock,
    )


def wait_for_edges(
    asked: KialiClient,
    namespace: str,
    expected: Iterable[tuple[Key, Key]],
    *,
    seconds: float,
    timeout: float,
    clock: Clock | None = None,
) -> ServiceGraph:
    """Read the graph of the last `seconds` until it holds each expected edge, or `timeout` seconds have passed.

    Returns what was there at the end, to be judged. Raises WaitTimeout when Kiali did not answer then.
    """
    wanted = set(expected)

    def look() -> ServiceGraph:
        return asked.graph(namespace, seconds=seconds)

    def missing(graph: ServiceGraph) -> int:
        return len(wanted - {(edge.source, edge.target) for edge in graph.edges})

    return wait_or_last(
        f"{len(wanted)} edges of Kiali's graph",
        look,
        ready=lambda graph: not missing(graph),
        describe=lambda graph: f"{missing(graph)} of {len(wanted)} edges are missing",
        timeout=timeout,
        delay=2.0,
        clock=clock,
        remedy="look at the log of Kiali's pod",
    )
