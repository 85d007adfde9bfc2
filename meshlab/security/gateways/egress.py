"""The controlled egress: what one workload may reach outside the mesh, and the gateway that it must take.

Objects as in Istio's tasks "Accessing External Services" and "Egress Gateways", narrowed to one caller: a
Sidecar for its pods alone, and everything else exported to nobody but that namespace and the gateway's.
"""

from __future__ import annotations

from typing import Literal

from meshlab import manifests
from meshlab.istio.mesh import Mesh
from meshlab.security.gateways import answering
from meshlab.security.gateways.ingress import Document

GATEWAY = "istio-egressgateway"
NAME = "meshlab-egress"
OUTSIDE = "meshlab-outside"  # the pod outside the mesh, and where the write scope allows it its namespace
DECLARED, UNDECLARED = "declared", "undeclared"  # Services of that pod
PAGE, TEXT = "/", "outside the mesh"
Mode = Literal["ALLOW_ANY", "REGISTRY_ONLY"]


def outside_pod(outside: str, image: str) -> list[Document]:
    """The destination: two host names, neither of them known to the mesh, that lead to one pod."""
    return answering.documents(OUTSIDE, outside, image, {PAGE: f"{TEXT}\n"}, [DECLARED, UNDECLARED])


def outbound_policy(namespace: str, mode: Mode) -> Document:
    """What the caller's proxy does with a destination that the mesh does not know."""
    found: Document = manifests.read("egress-policy", NAMESPACE=namespace, MODE=mode)
    return found


def through_gateway(mesh: Mesh, outside: str) -> list[Document]:
    """Declare a host, and its path: caller → (mutual TLS) egress gateway → host.

    Args:
        mesh: Its facts, for the caller's namespace.
        outside: The namespace of the pod outside the mesh.

    Returns:
        The objects.
    """
    words = {
        "NAMESPACE": mesh.namespace,
        "SYSTEM": mesh.egress_namespace,
        "HOST": mesh.service_host(DECLARED, outside),
        "CLUSTER_DOMAIN": mesh.cluster_domain,
    }
    found: list[Document] = manifests.read("egress-gateway", **words)
    return found
