"""When a proxy uses the clusters that it has acknowledged: one whose host name has no address yet is still warming.

Envoy says how many there are, so no request is needed to see it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, wait, wait_or_last
from meshlab.envoy.admin import PodPages, read_stat
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

LISTENERS = {"resource": "dynamic_listeners"}
WARMING = "cluster_manager.warming_clusters"


def wait_key(
    kube: Kube, pods: Sequence[PodSummary], key_id: str, *, timeout: float = 20, clock: Clock | None = None
) -> bool:
    """Wait until the proxies of some pods have a key that tokens are checked with.

    istiod fetches it itself, for a second at most. When that fails it sends a key that fits no token, and the right one
    only after it has tried again: both are acknowledged.

    Args:
        kube: Client of the cluster.
        pods: The gateway's pods.
        key_id: The key's name in its key set.
        timeout: Seconds.
        clock: Of the wait.

    Returns:
        Whether all have it; False where a planted fault keeps it away, which the requests show then.

    Raises:
        WaitTimeout: A proxy did not answer.
    """
    with PodPages(kube) as pages:
        proxies = [pages.of(pod.namespace, pod.name) for pod in pods]
        lacking = wait_or_last(
            f"the gateway to have the key {key_id}",
            lambda: sum(key_id not in json.dumps(each.json("/config_dump", LISTENERS)) for each in proxies),
            ready=lambda lacking: lacking == 0,
            describe=lambda lacking: f"{pluralize(lacking, 'proxies')} without it",
            timeout=timeout,
            delay=0.2,
            clock=clock,
        )
    return lacking == 0


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
