"""When a proxy uses the clusters that it has acknowledged: one whose host name has no address yet is still warming.

Envoy says how many there are, so no request is needed to see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, wait
from meshlab.envoy.admin import PodPages, read_stat
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

WARMING = "cluster_manager.warming_clusters"


def wait_clusters(
    kube: Kube, pods: Sequence[PodSummary], *, timeout: float = 30, clock: Clock | None = None
) -> None:
    """Wait until no cluster of these pods' proxies is warming.

    Call it when their configuration has been acknowledged (`wait_acknowledged` looks at listeners only).
    Raises WaitTimeout naming the proxy, QueryError, KubeError.
    """
    with PodPages(kube) as pages:
        for pod in pods:
            wait(
                f"the proxy of {pod.namespace}/{pod.name} to know its clusters' addresses",
                partial(read_stat, pages.of(pod.namespace, pod.name), WARMING),
                ready=lambda warming: warming == 0,
                describe=lambda warming: f"{pluralize(warming, 'clusters')} still warming",
                timeout=timeout,
                delay=0.1,
                remedy="its log tells what it waits for, such as a host name that has no address",
                clock=clock,
            )
