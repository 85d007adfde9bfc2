"""Kiali, from the addon manifest that Istio ships, where its image can be had: this project does not compile it."""

from __future__ import annotations

from collections.abc import Iterable

from meshlab.core.waiting import Clock
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.kiali_client import KialiClient
from meshlab.observability.addons.places import Signs
from meshlab.observability.graph.edges import Edge, wait_for
from meshlab.report.material import ServiceGraph

# Its own readiness probe begins after 30 s.
KIALI = Addon(
    "kiali",
    "kiali",
    20001,
    KialiClient,
    KialiClient.version,
    signs=(
        Signs(
            labels=(("app.kubernetes.io/name", "kiali"), ("app", "kiali")),
            names=("kiali",),
            ports=("http", "tcp", "https", 20001),
            parts=("server",),
        ),
    ),
)


def wait_for_edges(
    asked: KialiClient,
    namespace: str,
    expected: Iterable[Edge],
    *,
    seconds: float,
    timeout: float,
    clock: Clock | None = None,
) -> ServiceGraph:
    """Read the graph until it holds each expected edge, or the time is over.

    Args:
        asked: Kiali's client.
        namespace: Of the application.
        expected: Edges: (caller, called).
        seconds: How far back the graph reaches.
        timeout: Seconds to wait.
        clock: Of the wait.

    Returns:
        What was there at the end, to be judged.

    Raises:
        WaitTimeout: Kiali did not answer then.
    """
    wanted = set(expected)
    return wait_for(
        "Kiali's graph",
        lambda: asked.graph(namespace, seconds=seconds),
        lambda graph: len(wanted - {(edge.source, edge.target) for edge in graph.edges}),
        len(wanted),
        timeout=timeout,
        delay=2.0,
        clock=clock,
        remedy="look at the log of Kiali's pod",
    )
