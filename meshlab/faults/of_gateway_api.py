"""Faults of the edge by Gateway API: those of Istio's own ingress gateway, on its objects."""

from __future__ import annotations

from meshlab.faults import edge
from meshlab.faults.fault import Edge, Fault
from meshlab.security.gateways.pki import EXPIRED

GROUPS = ("app", "gateway")
GATEWAY_API = (
    Fault(
        "gateway-api-certificate-expired",
        "The certificates of a gateway by Gateway API have expired",
        must=("gateway.https", "gateway.mtls", "gateway.jwt"),
        groups=GROUPS,
        edge=Edge(lifetime=EXPIRED),
        scope="mesh",
    ),
    Fault(
        "gateway-api-host-widened",
        "A listener of a gateway by Gateway API takes every name",
        must=("gateway.https",),
        groups=GROUPS,
        edge=Edge(gateway=edge.listener_widened),
        culprit="Gateway.gateway.networking.k8s.io NAMESPACE/meshlab-gateway",
        scope="mesh",
    ),
    Fault(
        "gateway-api-issuer-changed",
        "A gateway by Gateway API expects tokens of another issuer",
        must=("gateway.jwt",),
        groups=GROUPS,
        edge=Edge(gateway=edge.issuer_changed),
        culprit="RequestAuthentication NAMESPACE/meshlab-gateway",
        scope="mesh",
    ),
    Fault(
        "gateway-api-policy-on-trial",
        "The policy that asks for a token at a gateway by Gateway API is in dry run",
        must=("gateway.jwt",),
        groups=GROUPS,
        edge=Edge(gateway=edge.on_trial),
        culprit="AuthorizationPolicy NAMESPACE/meshlab-gateway",
        scope="mesh",
    ),
)
