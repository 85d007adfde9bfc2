"""When a proxy uses the clusters that it has acknowledged: one whose host name has no address yet is still warming.

Envoy says how many there are, so no request is needed to see it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshlab.core.errors import QueryError
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, wait
from meshlab.envoy.stats import ADMIN_PORT, fetch
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary
from meshlab.kube.portforward import PortForward

WARMING = re.compile(r"^cluster_manager\.warming_clusters: (\d+)$", re.MULTILINE)


def wait_clusters(
    kube: Kube, pods: Sequence[PodSummary], *, timeout: float = 30, clock: Clock | None = None
) -> None:
    """Wait until no cluster of these pods' proxies is warming.

    Call it when their configuration has been acknowledged (`wait_acknowledged` looks at listeners only). Raises
    WaitTimeout naming the proxy, QueryError, KubeError.
    """
    for pod in pods:
        with PortForward(kube, namespace=pod.namespace, port=ADMIN_PORT, pod=pod.name) as forward:
            wait(
                f"the proxy of {pod.namespace}/{pod.name} to know its clusters' addresses",
                lambda url=forward.url: read_warming(fetch(f"{url}/stats?filter=warming_clusters").text),  # type: ignore[misc]
                ready=lambda warming: warming == 0,
                describe=lambda warming: f"{pluralize(warming, 'clusters')} still warming",
                timeout=timeout,
                delay=0.1,
                remedy="its log tells what it waits for, such as a host name that has no address",
                clock=clock,
            )


def read_warming(text: str) -> int:
    """How many clusters are warming, in Envoy's /stats. Raises QueryError where it does not tell."""
    found = WARMING.search(text)
    if found is None:
        raise QueryError(
            f"a proxy does not tell how many clusters are warming: {text[:200]!r}",
            remedy="look at its statistics: pilot-agent request GET stats",
            retryable=False,
        )
    return int(found[1])
