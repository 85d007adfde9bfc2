"""What the evaluator needs, read from the cluster: policies, the mesh's configuration, workloads, callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.core.address import host_port
from meshlab.core.errors import KubeError
from meshlab.istio.control_plane import SIDECAR
from meshlab.istio.mesh import Mesh as Facts
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary, serving
from meshlab.security.authorization import parse
from meshlab.security.authorization.cases import Case, Client, Service
from meshlab.security.authorization.model import NOBODY_CHOSE, Identity, Mesh, Request, Token, Workload

APIS = ("security.istio.io/v1", "security.istio.io/v1beta1")  # the newer first: Istio 1.21 has the other only
GROUP, ROUTES = "security.istio.io", "networking.istio.io"  # API groups, in the same versions


@dataclass(frozen=True)
class Target:
    """A service that is asked: the pods behind it, and the different sets of labels among them."""

    service: Service
    namespace: str
    pods: tuple[PodSummary, ...]

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """One for each set of labels: a policy that tells them apart makes the answer depend on the pod."""
        found = {tuple(sorted(pod.labels.items())): pod for pod in self.pods}
        return tuple(Workload(self.namespace, dict(labels)) for labels in found)


def served_api(kube: Kube) -> str:
    """The version in which the cluster serves Istio's security objects. Raises KubeError without any."""
    try:
        kube.resource(APIS[0], "AuthorizationPolicy")
    except KubeError as problem:
        if problem.status != 404:
            raise
        kube.resource(APIS[1], "AuthorizationPolicy")
        return APIS[1]
    return APIS[0]


def read_mesh(kube: Kube, api_version: str, facts: Facts) -> Mesh:
    """Read every policy of the cluster, and what of the mesh's configuration decides.

    Args:
        kube: Client of the cluster.
        api_version: In which it serves Istio's security objects.
        facts: Of the mesh that serves the namespace.

    Returns:
        All that decides.

    Raises:
        KubeError: The API server refuses it.
    """
    kinds = ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication")
    found = [kube.objects(api_version, kind) for kind in kinds]
    found.append(kube.objects(api_version.replace(GROUP, ROUTES), "DestinationRule"))
    config = {**facts.config, "trustDomain": facts.trust_domain, "rootNamespace": facts.root_namespace}
    return parse.mesh(*found, mesh_config=config, cluster_domain=facts.cluster_domain)


def find_targets(kube: Kube, namespace: str, services: Sequence[Service]) -> tuple[Target, ...]:
    """The services with their Ready pods. Raises KubeError for a service that has none."""
    found = []
    for service in services:
        spec = (kube.get("v1", "Service", service.name, namespace) or {}).get("spec", {})
        labels = ",".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items())
        pods = serving(kube.pods(namespace, labels)) if labels else []
        if not pods:
            raise KubeError(
                f"no Ready pod stands behind the service {namespace}/{service.name}",
                remedy=f"look at it: kubectl -n {namespace} get service,endpoints {service.name}",
            )
        found.append(Target(service, namespace, tuple(pods)))
    return tuple(found)


def client_of(name: str, selector: str, pod: PodSummary, mesh: Mesh) -> Client:
    """A pod as a caller: its identity when it has a sidecar, else one outside the mesh."""
    return Client(
        name, selector, identity_of(pod, mesh) if SIDECAR in pod.containers else None, pod.ip or None
    )


def identity_of(pod: PodSummary, mesh: Mesh) -> Identity:
    """The SPIFFE identity in the certificate of a pod's proxy."""
    return Identity(mesh.trust_domain, pod.namespace, pod.service_account)


def request_of(
    case: Case,
    client: Client,
    target: Target,
    tokens: Mapping[str, Token],
    *,
    cluster_domain: str = NOBODY_CHOSE.cluster_domain,
) -> Request:
    """Make the request of a cell, as the called pod's proxy sees it.

    Args:
        case: The cell.
        client: Who asks.
        target: Who is asked.
        tokens: By name.
        cluster_domain: The cluster's DNS domain, which ends the name that a client's proxy asks for in TLS.

    Returns:
        The request.
    """
    service, meshed = target.service, client.identity is not None
    name = f"{service.name}.{target.namespace}.svc"
    facts: dict[str, Any] = {
        "host": client.through or host_port(name, service.port),
        "source_ip": client.ip,
        # A gateway tells the called proxy of its own caller, in a header; how far that is trusted is a setting.
        "remote_ip": None if client.through else client.ip,
        "sni": f"outbound_.{service.port}_._.{name}.{cluster_domain}" if meshed else "",
        "destination_ip": target.pods[0].ip if len(target.pods) == 1 else None,
        "service": f"{service.name}.{target.namespace}",
    }
    return Request(
        case.method,
        case.path,
        port=service.port,
        peer=client.identity,
        token=tokens.get(case.token),
        **facts,
    )
