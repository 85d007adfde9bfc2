"""When a proxy uses what it has acknowledged: listeners and clusters that wait for a certificate, a route or an
address are acknowledged first and used later. Envoy says how many still wait, so no request is needed to see it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshlab.checks.scrape import ADMIN_PORT, fetch
from meshlab.errors import QueryError
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary
from meshlab.kube.portforward import PortForward
from meshlab.waiting import Clock, wait

WARMING = re.compile(
    r"^(?:listener_manager\.total_listeners_warming|cluster_manager\.warming_clusters): (\d+)$", re.MULTILINE
)
GAUGES = 2


def wait_settled(
    kube: Kube, pods: Sequence[PodSummary], *, timeout: float = 30, clock: Clock | None = None
) -> None:
    """Wait until no listener and no cluster of these pods' proxies is warming.

    Call it when their configuration has been acknowledged. Raises WaitTimeout naming the proxy, QueryError,
    KubeError.
    """
    for pod in pods:
        with PortForward(kube, namespace=pod.namespace, port=ADMIN_PORT, pod=pod.name) as forward:
            wait(
                f"the proxy of {pod.namespace}/{pod.name} to use its configuration",
                lambda url=forward.url: read_warming(fetch(f"{url}/stats?filter=warming").text),  # type: ignore[misc]
                ready=lambda warming: warming == 0,
                describe=lambda warming: f"{warming} listeners and clusters wait",
                timeout=timeout,
                delay=0.1,
                remedy="its log tells what it waits for: a Secret that is not there, a name without an address",
                clock=clock,
            )


def read_warming(text: str) -> int:
    """Listeners and clusters that still wait, in Envoy's /stats. Raises QueryError where it does not tell."""
    found = WARMING.findall(text)
    if len(found) != GAUGES:
        raise QueryError(
            f"a proxy does not tell how many listeners and clusters are warming: {text[:200]!r}",
            remedy="look at its statistics: pilot-agent request GET stats",
            retryable=False,
        )
    return sum(map(int, found))
