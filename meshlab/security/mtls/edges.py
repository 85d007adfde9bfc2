"""The application's edges as pods: who calls, who serves, on which nodes, under which identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshlab.app import bookinfo
from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary, serving

BY_NAME = {workload.name: workload for workload in bookinfo.WORKLOADS}


@dataclass(frozen=True)
class Edge:
    """One workload calls another: their pods, and the port that is called."""

    source: bookinfo.Workload
    target: bookinfo.Workload
    source_pod: PodSummary
    target_pod: PodSummary

    @property
    def name(self) -> str:
        """The edge in words, such as `sleep → productpage-v1`."""
        return f"{self.source.name} → {self.target.name}"

    @property
    def nodes(self) -> str:
        """The node, or `one → other` where the traffic crosses the wire between two."""
        ends = (self.source_pod.node, self.target_pod.node)
        return ends[0] if ends[0] == ends[1] else " → ".join(ends)


def find_edges(
    kube: Kube, namespace: str, pairs: Sequence[tuple[str, str]] = bookinfo.EDGES
) -> tuple[Edge, ...]:
    """The edges between the workloads of `pairs` (names), each with a Ready pod at both ends.

    Raises KubeError (retryable) when a workload has no Ready pod.
    """
    pods = kube.pods(namespace)
    return tuple(
        Edge(BY_NAME[source], BY_NAME[target], pod_of(pods, BY_NAME[source]), pod_of(pods, BY_NAME[target]))
        for source, target in pairs
    )


def pod_of(pods: Sequence[PodSummary], workload: bookinfo.Workload) -> PodSummary:
    """Find the first Ready pod of a workload.

    Args:
        pods: Where to look.
        workload: The workload.

    Returns:
        The pod.

    Raises:
        KubeError: There is none (retryable).
    """
    wanted = {"app": workload.app} | ({"version": workload.version} if workload.version else {})
    for pod in serving(pods):
        if wanted.items() <= pod.labels.items():
            return pod
    raise KubeError(f"no Ready pod of {workload.name}", remedy="look at check app.bookinfo", retryable=True)


def servers(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """One edge per workload that serves, in the order of their first calls."""
    return tuple({edge.target.name: edge for edge in edges}.values())
