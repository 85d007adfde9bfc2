"""Who sends and answers the background traffic beside Bookinfo and sleep.

A TCP echo with a sidecar, a caller without one, and a route through the ingress gateway. The first and the
last are Istio's own samples (samples/tcp-echo, samples/bookinfo/networking).
"""

from __future__ import annotations

from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import PAGE_PATH, Workload
from meshlab.app.once import RoundResult, n_requests
from meshlab.app.source import find_source
from meshlab.config.settings import LabConfig
from meshlab.core.errors import NotHereError
from meshlab.core.waiting import Clock, wait
from meshlab.istio.distribution import Distribution
from meshlab.istio.mesh import Mesh
from meshlab.kube.apply import read_manifests
from meshlab.kube.client import Kube

TCP_ECHO_SAMPLE = "tcp-echo/tcp-echo.yaml"
GATEWAY_SAMPLE = "bookinfo/networking/bookinfo-gateway.yaml"
TCP_ECHO = Workload("tcp-echo", "tcp-echo", "v1", "default", port=9000)
CALLER = Workload("plaintext-caller", "plaintext-caller", "", "default", port=0)
INGRESS = (
    "istio-ingressgateway"  # Deployment and Service; Istio's sample of a route and ours are for its pods
)


def ingress_host(mesh: Mesh) -> str:
    """Name of the ingress gateway's Service, as a pod without a sidecar calls it."""
    return f"{INGRESS}.{mesh.ingress_namespace}.svc"


def why_no_ingress(kube: Kube, mesh: Mesh) -> str:
    """Say why nothing can be sent through the ingress gateway.

    Istio's Helm page calls a gateway istio-ingress, and the profile `minimal` has none: both are good meshes, whose
    gateways take no route of the run's.

    Args:
        kube: Client of the cluster.
        mesh: The facts of the mesh.

    Returns:
        The reason; "" where its Service is there.

    Raises:
        KubeError: The API server does not answer.
    """
    if kube.get("v1", "Service", INGRESS, mesh.ingress_namespace) is None:
        return f"this installation of Istio has no {INGRESS}"
    return ""


def documents(distribution: Distribution, config: LabConfig, *, ingress: bool = True) -> list[dict[str, Any]]:
    """Make the objects of the traffic clients: samples as they are, and the caller of ours.

    The ingress route is among them only where the whole mesh may be changed: its hosts are "*", which would
    meet the routes of others.

    Args:
        distribution: Istio's istioctl and samples.
        config: The settings of the run.
        ingress: The mesh has the gateway: a route for one that is not there is an error of `istioctl analyze`.

    Returns:
        The objects.

    Raises:
        InputError: A sample can't be read.
    """
    found = [*read_manifests(distribution.samples / TCP_ECHO_SAMPLE), manifests.read("plaintext-caller")]
    if config.scope == "mesh" and ingress:
        found += read_manifests(distribution.samples / GATEWAY_SAMPLE)
    return found


def wait_ingress(kube: Kube, mesh: Mesh, *, timeout: float = 60, clock: Clock | None = None) -> RoundResult:
    """Wait until the ingress gateway has taken the route: a request of the caller gets a 200.

    Bookinfo must be Ready.

    Args:
        kube: Client of the cluster.
        mesh: The facts of the mesh, for the application's namespace.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        The last answer.

    Raises:
        NotHereError: The mesh has no such gateway.
        WaitTimeout: It does not; its text has the last answer.
        ExecError: A request can't be sent.
    """
    if reason := why_no_ingress(kube, mesh):
        raise NotHereError(reason, remedy="install a profile with it (demo)")
    namespace, url = mesh.namespace, f"http://{ingress_host(mesh)}{PAGE_PATH}"
    source = find_source(kube, namespace, CALLER.selector)

    def ask() -> RoundResult:
        return n_requests(kube, source, url, 1, request_timeout=5)

    return wait(
        f"{INGRESS} to route {PAGE_PATH} to {namespace}",
        ask,
        ready=lambda answer: answer.by_status.get("200") == 1,
        describe=lambda answer: f"status {', '.join(answer.by_status)} {answer.odd[:100]}".strip(),
        timeout=timeout,
        clock=clock,
        remedy=f"look at the Gateway and VirtualService in {namespace}, and at istioctl proxy-status",
    )
