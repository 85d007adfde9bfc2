"""Where requests come from: the pod whose container has a shell and curl."""

from __future__ import annotations

from dataclasses import dataclass

from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube
from meshlab.kube.pods import serving


@dataclass(frozen=True)
class Source:
    """A container that sends requests.

    uid: the pod's; counts are void when it changes while they are taken.
    """

    namespace: str
    pod: str
    container: str
    uid: str


def find_source(kube: Kube, namespace: str, selector: str = "app=sleep") -> Source:
    """Find the first Ready pod with these labels.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.
        selector: Label selector; all where not given.

    Returns:
        It, as a place to send requests from.

    Raises:
        KubeError: None is Ready; trying again may help.
    """
    pods = serving(kube.pods(namespace, selector))
    if not pods:
        raise KubeError(
            f"no Ready pod {selector} in {namespace} to send requests from",
            remedy=f"deploy it, and look at it: kubectl -n {namespace} get pods -l {selector}",
            retryable=True,
        )
    pod = pods[0]
    return Source(namespace, pod.name, first_application_container(pod.containers), pod.uid)


def first_application_container(containers: tuple[str, ...]) -> str:
    """The first container that is not the mesh's own."""
    return next((name for name in containers if name != "istio-proxy"), containers[0])
