"""Every fault that can be planted, with the checks that must see it. A new one is an entry, and its object or function."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.app import bookinfo
from meshlab.config.settings import LabConfig
from meshlab.faults import edge
from meshlab.faults.fault import QUERIES, Edge, Fault
from meshlab.faults.nodes import NODES
from meshlab.faults.of_gateway_api import GATEWAY_API
from meshlab.faults.of_policies import POLICIES
from meshlab.faults.of_removal import REMOVAL
from meshlab.faults.of_routes import ROUTES
from meshlab.faults.of_scrapes import SCRAPES
from meshlab.faults.of_workloads import WORKLOADS
from meshlab.faults.planters import cut_edge, no_istiod, no_sidecar, not_scraped, plant_objects
from meshlab.security.gateways.pki import EXPIRED

_FIRST: tuple[Fault, ...] = (
    Fault(
        "permissive-left-on",
        "A PeerAuthentication of the namespace still takes plaintext, below a STRICT mesh",
        must=("mtls.refusal", "audit.strict-mtls"),
        groups=("app", "mtls", "audit"),
        plant=plant_objects("permissive-left-on"),
    ),
    Fault(
        "mtls-off-on-one-port",
        "Mutual TLS is disabled on the port of details",
        must=("mtls.refusal", "mtls.packets", "mtls.counter", "mtls.identity", "audit.strict-mtls"),
        groups=("app", "mtls", "audit"),
        plant=plant_objects("mtls-off-on-one-port"),
    ),
    Fault(
        "wrong-service-account",
        "A policy of productpage allows a service account that nobody has",
        must=("app.productpage",),  # the truth table agrees: it is refused as the policy says
        groups=("app", "authz"),
        plant=plant_objects("wrong-service-account"),
    ),
    Fault(
        "missing-sidecar",
        "The pod of details was made without a sidecar",
        must=("istio.injection",),
        plant=no_sidecar,
        culprit="Deployment NAMESPACE/details-v1",
    ),
    Fault(
        "prometheus-not-scraping",
        "Prometheus does not scrape productpage's sidecar",
        must=("prometheus.targets", "prometheus.requests-total", "graph.edges"),
        may=(
            "prometheus.code-200",
            "prometheus.sleep-to-productpage",
            "prometheus.reconcile",
            "graph.agreement",
        ),
        groups=("load",),
        plant=not_scraped,
        culprit="Pod NAMESPACE/productpage-v1-*",
    ),
    Fault(
        "sampling-at-0",
        "No request is sampled for tracing",
        must=("jaeger.productpage-traces", "graph.agreement"),
        groups=("load",),
        plant=plant_objects("sampling-at-0"),
    ),
    Fault(
        "missing-subset",
        "A VirtualService sends reviews' traffic to a subset that is not there",
        must=("istio.analyze", "graph.edges"),
        may=("graph.agreement", "jaeger.productpage-traces", *QUERIES),
        groups=("app", "istio", "load"),
        plant=plant_objects("missing-subset"),
    ),
    Fault(
        "abort-10-percent",
        "A VirtualService answers 10 % of productpage's requests with a 500",
        must=("app.productpage",),
        plant=plant_objects("abort-10-percent"),
        pages=100,  # all answered: once in 37,000 times
    ),
    Fault(
        "delay-500-ms",
        "A VirtualService delays productpage's requests by 500 ms",
        must=("app.productpage",),
        plant=plant_objects("delay-500-ms"),
    ),
    Fault(
        "rejected-configuration",
        "An EnvoyFilter that details' proxy rejects",
        must=("istio.proxies-synced",),
        plant=plant_objects("rejected-configuration"),
        heal=(bookinfo.DETAILS.selector,),
    ),
    Fault(
        "istiod-stopped",
        "istiod has no pod",
        must=("istio.control-plane", "istio.versions"),
        may=("istio.proxies-synced", "istio.analyze"),  # they can't be made
        plant=no_istiod,
        culprit="Deployment SYSTEM/istiod*",
        scope="mesh",
    ),
    Fault(
        "edge-cut-by-firewall",
        "A firewall rule on a node refuses productpage's connections to details",
        must=("graph.edges",),
        may=("graph.agreement", "jaeger.productpage-traces", *QUERIES),
        groups=("app", "load"),
        plant=cut_edge,
        local=True,
    ),
    Fault(
        "expired-gateway-certificate",
        "The ingress gateway's certificates have expired",
        must=("ingress.https", "ingress.mtls", "ingress.jwt"),
        groups=("app", "ingress"),
        edge=Edge(lifetime=EXPIRED),
        scope="mesh",
    ),
    Fault(
        "gateway-host-widened",
        "A server of the ingress gateway serves every host",
        must=("ingress.https",),
        groups=("app", "ingress"),
        edge=Edge(ingress=edge.hosts_widened),
        culprit="Gateway NAMESPACE/meshlab-edge",
        scope="mesh",
    ),
    Fault(
        "jwt-issuer-changed",
        "The ingress gateway expects tokens of another issuer",
        must=("ingress.jwt",),
        groups=("app", "ingress"),
        edge=Edge(ingress=edge.issuer_changed),
        culprit="RequestAuthentication SYSTEM/meshlab-edge",
        scope="mesh",
    ),
    Fault(
        "egress-opened",
        "The caller may reach hosts that nobody declared",
        must=("egress.blocked", "egress.gateway"),
        groups=("app", "egress"),
        edge=Edge(egress=edge.opened),
        culprit="Sidecar NAMESPACE/meshlab-egress",
    ),
    Fault(
        "egress-direct-path",
        "The declared host is called directly, not through the egress gateway",
        must=("egress.gateway",),
        groups=("app", "egress"),
        edge=Edge(egress=edge.direct),
        culprit="VirtualService NAMESPACE/meshlab-egress",
        scope="mesh",
    ),
    Fault(
        "allow-all-policy",
        "A policy of the namespace allows everything to everybody",
        must=("authz.truth-table", "audit.allow-all"),
        groups=("app", "authz", "audit"),
        plant=plant_objects("allow-all-policy"),
    ),
    Fault(
        "tls-switched-off",
        "A DestinationRule switches TLS off for reviews",
        must=("audit.destination-rule-tls",),
        may=("audit.analyze",),
        groups=("app", "audit"),
        plant=plant_objects("tls-switched-off"),
    ),
)
FAULTS = (
    *_FIRST,
    *GATEWAY_API,
    *ROUTES,
    *WORKLOADS,
    *POLICIES,
    *SCRAPES,
    *NODES,
    *REMOVAL,
)  # in the order in which they are planted
NAMES = tuple(fault.name for fault in FAULTS)


def choose(only: Sequence[str] = ()) -> tuple[Fault, ...]:
    """The faults with these names, or all, in the order of the catalogue. KeyError for an unknown name."""
    unknown = set(only) - set(NAMES)
    if unknown:
        raise KeyError(f"no fault {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return tuple(fault for fault in FAULTS if not only or fault.name in only)


def why_not(fault: Fault, config: LabConfig, *, stays: str = "") -> str:
    """Say why a fault can't be planted with these settings.

    Args:
        fault: The fault.
        config: The settings: the write scope, the kind of cluster, and what is asked for.
        stays: Why the run leaves the lab up; "" where it takes it down.

    Returns:
        The reason; empty where it can be planted.
    """
    local = config.cluster == "local"
    if "gateway" in fault.groups and not config.security.gateway_api:
        return "not asked for: --set security.gateway_api=true"
    if fault.last and stays:
        return f"it is planted while the lab is removed, and this one stays: {stays}"
    if fault.local and not local:
        return "needs a node of the local cluster"
    if fault.enforced and not (local and config.local.network_policy):
        return "needs NetworkPolicies that are enforced: a local cluster with --set local.network_policy=true"
    return "needs scope mesh" if fault.scope == "mesh" != config.scope else ""
