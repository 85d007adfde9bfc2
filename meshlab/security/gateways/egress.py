"""The controlled egress: what one workload may reach outside the mesh, and the gateway that it must take.

Objects as in Istio's tasks "Accessing External Services" and "Egress Gateways", narrowed to one caller: a
Sidecar for its pods alone, and everything else exported to nobody but that namespace and the gateway's.
"""

from __future__ import annotations

from typing import Literal

from meshlab import manifests
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.security.gateways import answering
from meshlab.security.gateways.ingress import Document

GATEWAY = "istio-egressgateway"
NAME = "meshlab-egress"
OUTSIDE = "meshlab-outside"  # the pod outside the mesh, and where the write scope allows it its namespace
DECLARED, UNDECLARED = "declared", "undeclared"  # Services of that pod
PAGE, TEXT = "/", "outside the mesh"
Mode = Literal["ALLOW_ANY", "REGISTRY_ONLY"]


def host(service: str, outside: str, domain: str) -> str:
    """Give a Service's full name.

    Args:
        service: Its name.
        outside: The namespace of the pod outside the mesh.
        domain: The cluster's.

    Returns:
        The DNS name.
    """
    return f"{service}.{outside}.svc.{domain}"


def outside_pod(outside: str, image: str) -> list[Document]:
    """The destination: two host names, neither of them known to the mesh, that lead to one pod."""
    return answering.documents(OUTSIDE, outside, image, {PAGE: f"{TEXT}\n"}, [DECLARED, UNDECLARED])


def outbound_policy(namespace: str, mode: Mode) -> Document:
    """What the caller's proxy does with a destination that the mesh does not know."""
    found: Document = manifests.read("egress-policy", NAMESPACE=namespace, MODE=mode)
    return found


def through_gateway(namespace: str, outside: str, domain: str) -> list[Document]:
    """The declared host, and its path: caller → (mutual TLS) egress gateway → host."""
    words = {
        "NAMESPACE": namespace,
        "SYSTEM": SYSTEM_NAMESPACE,
        "HOST": host(DECLARED, outside, domain),
        "CLUSTER_DOMAIN": domain,
    }
    found: list[Document] = manifests.read("egress-gateway", **words)
    return found
