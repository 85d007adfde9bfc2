"""Kiali, from the addon manifest that Istio ships, where its image can be had: no build of ours stands for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.waiting import Clock
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import read_manifests
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.kiali_client import KialiClient
from meshlab.observability.graph.edges import Edge, wait_for
from meshlab.report.material import ServiceGraph

MANIFEST = "addons/kiali.yaml"  # in the distribution's samples


def manifest(
    distribution: Distribution, config: LabConfig, images: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Read the addon's objects, unchanged.

    Args:
        distribution: Its samples are read.
        config: Not used: Kiali stands where Istio puts it.
        images: Not used: no image of ours stands for Kiali's.

    Returns:
        The objects.

    Raises:
        InputError: The manifest can't be read.
    """
    return read_manifests(distribution.samples / MANIFEST)


# Its own readiness probe begins after 30 s.
KIALI = Addon("kiali", "kiali", 20001, manifest, KialiClient, KialiClient.version)


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
