"""Faults of policies, and of what enforces them."""

from __future__ import annotations

from meshlab.app import bookinfo
from meshlab.faults import edge
from meshlab.faults.fault import QUERIES, Edge, Fault
from meshlab.faults.planters import plant_for_new, plant_objects

POLICIES = (
    Fault(
        "deny-one-method",
        "A policy refuses GET requests to reviews",
        must=("graph.edges", "jaeger.productpage-traces"),
        may=("graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_objects("deny-one-method"),
    ),
    Fault(
        "mtls-off-on-one-workload",
        "A PeerAuthentication switches mutual TLS off for ratings",
        must=("mtls.refusal", "mtls.packets", "mtls.counter", "mtls.identity", "audit.strict-mtls"),
        groups=("app", "mtls", "audit"),
        plant=plant_objects("mtls-off-on-one-workload"),
    ),
    Fault(
        "policies-not-enforced",
        "An EnvoyFilter takes the filter that enforces policies away from details",
        must=("authz.truth-table",),
        groups=("app", "authz"),
        plant=plant_objects("policies-not-enforced"),
    ),
    Fault(
        "policy-on-trial",
        "The policy that asks for a token is in dry run",
        must=("ingress.jwt",),
        groups=("app", "ingress"),
        edge=Edge(ingress=edge.on_trial),
        scope="mesh",
        culprit="AuthorizationPolicy SYSTEM/meshlab-edge",
    ),
    Fault(
        "edge-cut-by-network-policy",
        "A NetworkPolicy of details lets everybody in but productpage",
        # Dropped packets are no answer: each page waits for details until it gives up, and comes without it.
        must=("app.productpage", "graph.edges", "jaeger.productpage-traces"),
        may=("graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_for_new("edge-cut-by-network-policy", bookinfo.DETAILS),
        heal=(bookinfo.DETAILS.selector,),
        enforced=True,
    ),
)
