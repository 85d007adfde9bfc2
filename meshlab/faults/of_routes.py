"""Faults of what routes traffic: VirtualServices, DestinationRules, Sidecars, ServiceEntries and Gateways."""

from __future__ import annotations

from meshlab.faults.fault import QUERIES, Fault
from meshlab.faults.planters import plant_at_address, plant_objects

ROUTES = (
    Fault(
        "sidecar-hides-service",
        "A Sidecar of productpage does not show details",
        must=("envoy.dashboard", "graph.edges"),
        may=("graph.agreement", "jaeger.productpage-traces", *QUERIES),
        groups=("app", "load"),
        plant=plant_objects("sidecar-hides-service"),
    ),
    Fault(
        "two-virtual-services",
        "Two VirtualServices of the mesh are for one host, of which one counts",
        must=("istio.analyze",),
        plant=plant_objects("two-virtual-services"),
    ),
    Fault(
        "mirror-doubles-traffic",
        "A VirtualService sends each of productpage's requests a second time",
        must=("prometheus.reconcile",),
        groups=("app", "load"),
        plant=plant_objects("mirror-doubles-traffic"),
    ),
    Fault(
        "retries-hide-errors",
        "Half of the answers of productpage's proxy are errors, and a VirtualService asks again until one is none",
        must=("mtls.counter",),
        may=("mtls.refusal",),  # its control asks some servers by the pod's address, which nothing repeats
        groups=("app", "mtls"),
        plant=plant_objects("retries-hide-errors"),
    ),
    Fault(
        "only-pod-ejected",
        "A DestinationRule ejects the only pod of details after one error of many",
        must=("envoy.dashboard", "graph.edges", "jaeger.productpage-traces"),
        may=("graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_objects("only-pod-ejected"),
    ),
    Fault(
        "connection-pool-of-one",
        "The connection pool of productpage is for one request at a time, and those of one host at the ingress take long",
        must=("ingress.mtls", "ingress.jwt"),
        may=("ingress.https",),  # whose requests take long: it holds the place, and loses it now and then
        groups=("app", "ingress"),
        plant=plant_objects("connection-pool-of-one"),
        scope="mesh",
    ),
    Fault(
        "shadowing-service-entry",
        "A ServiceEntry with the address of details leads to ratings",
        must=("graph.edges", "jaeger.productpage-traces"),
        may=("graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_at_address("shadowing-service-entry"),
    ),
    Fault(
        "timeout-1-ms",
        "A VirtualService gives up on productpage's requests after a millisecond",
        must=("app.productpage",),
        plant=plant_objects("timeout-1-ms"),
    ),
    Fault(
        "route-for-a-header-only",
        "A VirtualService of productpage has a route for requests with a header, and none for others",
        must=("app.productpage",),
        plant=plant_objects("route-for-a-header-only"),
    ),
    Fault(
        "wrong-destination",
        "A VirtualService sends the requests to details to ratings",
        must=("graph.edges", "jaeger.productpage-traces"),
        may=("graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_objects("wrong-destination"),
    ),
    Fault(
        "gateway-of-somebody-else",
        "A Gateway of somebody else is older and serves a host of ours",
        must=("ingress.https",),
        groups=("app", "ingress"),
        plant=plant_objects("gateway-of-somebody-else"),
        scope="mesh",
    ),
)
