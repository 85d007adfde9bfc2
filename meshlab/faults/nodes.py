"""Faults of the cluster's nodes: a Node without a machine, and a machine whose heartbeats are refused."""

from __future__ import annotations

from collections.abc import Callable

from meshlab.app import bookinfo
from meshlab.core.waiting import Clock, wait
from meshlab.faults.fault import Fault, Site
from meshlab.faults.planters import plant_objects, pod_of
from meshlab.kube.client import Kube
from meshlab.kube.pods import condition

# The controller manager gives a kubelet 50 s (--node-monitor-grace-period), and looks every 5 s; kubelets try every 10 s.
LOST_TIMEOUT, BACK_TIMEOUT = 120.0, 90.0  # seconds


def heartbeats_refused(site: Site) -> None:
    """Refuse what the kubelet of details' node says of itself, and wait until the node counts as lost."""
    node = pod_of(site, bookinfo.DETAILS).node
    plant_objects("heartbeats-refused", NODE=node)(site)
    _wait_ready(site.kube, f"node {node} to be not Ready", lambda lost: node in lost, LOST_TIMEOUT, None)


def wait_nodes_ready(kube: Kube, *, clock: Clock | None = None) -> None:
    """Wait until every node is Ready.

    Args:
        kube: Client of the cluster.
        clock: Of the wait; the real one where not given.

    Raises:
        WaitTimeout: A node stays as it is; the text names it.
        KubeError: The API server refuses it.
    """
    _wait_ready(kube, "every node to be Ready", lambda lost: not lost, BACK_TIMEOUT, clock)


def _wait_ready(
    kube: Kube, what: str, ready: Callable[[list[str]], bool], timeout: float, clock: Clock | None
) -> None:
    wait(
        what,
        lambda: not_ready(kube),
        ready=ready,
        describe=lambda lost: f"not Ready: {', '.join(lost) or 'none'}",
        timeout=timeout,
        clock=clock,
    )


def not_ready(kube: Kube) -> list[str]:
    """List the nodes that are not Ready, by name."""
    return [
        each["metadata"]["name"]
        for each in kube.objects("v1", "Node")
        if condition(each, "Ready").get("status") != "True"
    ]


NODES = (
    Fault(
        "node-without-a-machine",
        "A machine is gone, and its Node is still there",
        must=("cluster.nodes-ready", "cluster.version"),
        groups=("cluster", "app"),
        plant=plant_objects("node-without-a-machine"),
        scope="mesh",
    ),
    Fault(
        "heartbeats-refused",
        "An admission policy refuses the heartbeats of one kubelet",
        must=("cluster.nodes-ready",),
        groups=("cluster",),
        plant=heartbeats_refused,
        takes_nodes=True,
        scope="mesh",
    ),
)
