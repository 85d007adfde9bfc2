"""What every source of the service graph shares: waiting for edges, and the graph as the report draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from meshlab.core.waiting import Clock, wait_or_last
from meshlab.report.material import GraphEdge, GraphNode, ServiceGraph

Key = tuple[str, str]  # (namespace, workload), as GraphNode.key
Edge = tuple[Key, Key]  # (caller, called)
UNKNOWN = "unknown"
NO_VERSION = "latest"  # the canonical revision of a pod without a version label
G = TypeVar("G")


def drawn(title: str, nodes: Iterable[GraphNode], edges: Iterable[GraphEdge], *, source: str) -> ServiceGraph:
    """Make the graph that the report draws.

    Args:
        title: Its heading.
        nodes: The workloads; one that is given twice stands for itself.
        edges: The calls.
        source: Who told it.

    Returns:
        The graph, sorted.
    """
    known = {node.key: node for node in nodes}
    ordered = sorted(edges, key=lambda edge: (edge.source, edge.target, edge.protocol))
    return ServiceGraph(title, tuple(known[key] for key in sorted(known)), tuple(ordered), source=source)


def wait_for(
    name: str,
    read: Callable[[], G],
    missing: Callable[[G], int],
    wanted: int,
    *,
    timeout: float,
    remedy: str,
    delay: float = 1.0,
    clock: Clock | None = None,
) -> G:
    """Read a graph until no edge is missing, or the time is over.

    Args:
        name: Of the graph, in a sentence.
        read: Reads it.
        missing: Counts the edges that it lacks.
        wanted: How many edges it shall hold.
        timeout: Seconds to wait.
        remedy: What to do where nothing answers.
        delay: Seconds between two readings.
        clock: Of the wait; the real one where not given.

    Returns:
        What was there at the end, to be judged: that an edge is missing is a finding.

    Raises:
        WaitTimeout: Nothing answered at the end.
    """
    return wait_or_last(
        f"{wanted} edges of {name}",
        read,
        ready=lambda graph: not missing(graph),
        describe=lambda graph: f"{missing(graph)} of {wanted} edges are missing",
        timeout=timeout,
        delay=delay,
        clock=clock,
        remedy=remedy,
    )
