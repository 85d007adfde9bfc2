"""The controlled egress: what one workload may reach outside the mesh, and the gateway that it must take.

Objects as in Istio's tasks "Accessing External Services" and "Egress Gateways", narrowed to one caller: a
Sidecar for its pods alone, and everything else exported to nobody but that namespace and the gateway's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from meshlab.app.bookinfo import SLEEPER
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.security.gateways import answering
from meshlab.security.gateways.ingress import NETWORKING, Document

GATEWAY = "istio-egressgateway"
GATEWAY_HOST = f"{GATEWAY}.{SYSTEM_NAMESPACE}.svc.cluster.local"
SELECTOR = {"istio": "egressgateway"}
NAME = "meshlab-egress"
OUTSIDE = "meshlab-outside"  # the pod outside the mesh, and where the write scope allows it its namespace
DECLARED, UNDECLARED = "declared", "undeclared"  # Services of that pod
SUBSET = "outside"
PAGE, TEXT = "/", "outside the mesh"
GATEWAY_PORT = 443  # of the egress gateway, for the sidecars' mutual TLS
Mode = Literal["ALLOW_ANY", "REGISTRY_ONLY"]


def host(service: str, outside: str) -> str:
    """A Service's full name. outside: the namespace of the pod outside the mesh."""
    return f"{service}.{outside}.svc.cluster.local"


def outside_pod(outside: str, image: str) -> list[Document]:
    """The destination: two host names, neither of them known to the mesh, that lead to one pod."""
    return answering.documents(OUTSIDE, outside, image, {PAGE: f"{TEXT}\n"}, [DECLARED, UNDECLARED])


def outbound_policy(namespace: str, mode: Mode) -> Document:
    """What the caller's proxy does with a destination that the mesh does not know."""
    labels = {"app": SLEEPER.app}
    spec = {"workloadSelector": {"labels": labels}, "outboundTrafficPolicy": {"mode": mode}}
    return _object("Sidecar", namespace, spec)


def through_gateway(namespace: str, outside: str) -> list[Document]:
    """The declared host, and its way: caller → (mutual TLS) egress gateway → host."""
    declared = host(DECLARED, outside)
    seen_by = [".", SYSTEM_NAMESPACE]
    http = {"number": answering.SERVICE_PORT, "name": "http", "protocol": "HTTP"}
    entry = {
        "hosts": [declared],
        "ports": [http],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
        "exportTo": seen_by,
    }
    server = {
        "port": {"number": GATEWAY_PORT, "name": "https-egress", "protocol": "HTTPS"},
        "hosts": [declared],
        "tls": {"mode": "ISTIO_MUTUAL"},
    }
    tls = {"port": {"number": GATEWAY_PORT}, "tls": {"mode": "ISTIO_MUTUAL", "sni": declared}}
    subset = {"name": SUBSET, "trafficPolicy": {"portLevelSettings": [tls]}}
    routes = [
        _route(
            "mesh",
            answering.SERVICE_PORT,
            {"host": GATEWAY_HOST, "subset": SUBSET, "port": {"number": GATEWAY_PORT}},
        ),
        _route(NAME, GATEWAY_PORT, {"host": declared, "port": {"number": answering.SERVICE_PORT}}),
    ]
    return [
        _object("ServiceEntry", namespace, entry),
        _object("Gateway", namespace, {"selector": SELECTOR, "servers": [server]}),
        _object("DestinationRule", namespace, {"host": GATEWAY_HOST, "exportTo": ["."], "subsets": [subset]}),
        _object(
            "VirtualService",
            namespace,
            {"hosts": [declared], "gateways": ["mesh", NAME], "exportTo": seen_by, "http": routes},
        ),
    ]


def _route(gateway: str, port: int, destination: Mapping[str, Any]) -> Document:
    return {
        "match": [{"gateways": [gateway], "port": port}],
        "route": [{"destination": dict(destination)}],
    }


def _object(kind: str, namespace: str, spec: Mapping[str, Any]) -> Document:
    meta = {"name": NAME, "namespace": namespace}
    return {"apiVersion": NETWORKING, "kind": kind, "metadata": meta, "spec": dict(spec)}
