"""Every fault that can be planted, with the checks that must see it. A new one is an entry, and its object or function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshlab import manifests
from meshlab.app import bookinfo
from meshlab.core.errors import ClusterError, KubeError
from meshlab.faults import edge
from meshlab.faults.fault import Edge, Fault, Site
from meshlab.faults.scraping import wait_not_scraped
from meshlab.kube.apply import ObjectRef
from meshlab.kube.pods import PodSummary
from meshlab.security.gateways.pki import EXPIRED

QUERIES = (
    "prometheus.requests-total",
    "prometheus.code-200",
    "prometheus.sleep-to-productpage",
)


def pod_of(site: Site, workload: bookinfo.Workload) -> PodSummary:
    """The workload's Ready pod. Raises KubeError (retryable) without one."""
    for pod in site.kube.pods(site.namespace, workload.selector):
        if pod.is_ready and not pod.deleting:
            return pod
    raise KubeError(f"no Ready pod of {workload.name} in {site.namespace}", retryable=True)


def _not_scraped(site: Site) -> None:
    pod = pod_of(site, bookinfo.PRODUCTPAGE)
    off = {"metadata": {"annotations": {"prometheus.io/scrape": "false"}}}
    site.changes.patch(ObjectRef("v1", "Pod", pod.namespace, pod.name), off)
    wait_not_scraped(site.kube, site.config, pod.name)


def _no_sidecar(site: Site) -> None:
    # An annotation, not the label of the same name: a pod that opts out by label is expected to have none.
    off = {"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}}}}
    site.changes.patch(ObjectRef("apps/v1", "Deployment", site.namespace, bookinfo.DETAILS.name), off)


def _no_istiod(site: Site) -> None:
    site.changes.patch(
        ObjectRef("apps/v1", "Deployment", site.mesh.system_namespace, site.mesh.istiod),
        {"spec": {"replicas": 0}},
    )


def _cut_edge(site: Site) -> None:
    if site.firewall is None:
        raise ClusterError("this cluster's nodes can't be entered", remedy="plant it on the local cluster")
    caller, called = pod_of(site, bookinfo.PRODUCTPAGE), pod_of(site, bookinfo.DETAILS)
    site.firewall.cut(caller.node, caller.ip, called.ip, bookinfo.PORT)


def _applies(name: str) -> Callable[[Site], None]:
    """Plant what `meshlab/manifests/faults.yaml` holds for a fault."""

    def plant(site: Site) -> None:
        words = {
            "NAMESPACE": site.namespace,
            "TRUST_DOMAIN": site.mesh.trust_domain,
            "CLUSTER_DOMAIN": site.mesh.cluster_domain,
        }
        site.changes.apply(manifests.read("faults", **words)[name])

    return plant


def object_of(fault: Fault, namespace: str) -> str | None:
    """Name the configuration object that a fault plants.

    Args:
        fault: The fault.
        namespace: The app's.

    Returns:
        Kind namespace/name; None where it plants none, but changes or cuts something.
    """
    found = manifests.read("faults", NAMESPACE=namespace).get(fault.name)
    return f"{found['kind']} {found['metadata']['namespace']}/{found['metadata']['name']}" if found else None


FAULTS: tuple[Fault, ...] = (
    Fault(
        "permissive-left-on",
        "A PeerAuthentication of the namespace still takes plaintext, below a STRICT mesh",
        must=("mtls.refusal", "audit.strict-mtls"),
        groups=("app", "mtls", "audit"),
        plant=_applies("permissive-left-on"),
    ),
    Fault(
        "mtls-off-on-one-port",
        "Mutual TLS is disabled on the port of details",
        must=("mtls.refusal", "mtls.packets", "mtls.counter", "mtls.identity", "audit.strict-mtls"),
        groups=("app", "mtls", "audit"),
        plant=_applies("mtls-off-on-one-port"),
    ),
    Fault(
        "wrong-service-account",
        "A policy of productpage allows a service account that nobody has",
        must=("app.productpage",),  # the truth table agrees: it is refused as the policy says
        groups=("app", "authz"),
        plant=_applies("wrong-service-account"),
    ),
    Fault(
        "missing-sidecar",
        "The pod of details was born without a sidecar",
        must=("istio.injection",),
        plant=_no_sidecar,
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
        plant=_not_scraped,
    ),
    Fault(
        "sampling-at-0",
        "No request is sampled for tracing",
        must=("jaeger.productpage-traces", "graph.agreement"),
        groups=("load",),
        plant=_applies("sampling-at-0"),
    ),
    Fault(
        "missing-subset",
        "A VirtualService sends reviews' traffic to a subset that is not there",
        must=("istio.analyze", "graph.edges"),
        may=("graph.agreement", "jaeger.productpage-traces", *QUERIES),
        groups=("app", "istio", "load"),
        plant=_applies("missing-subset"),
    ),
    Fault(
        "abort-10-percent",
        "A VirtualService answers 10 % of productpage's requests with a 500",
        must=("app.productpage",),
        plant=_applies("abort-10-percent"),
        pages=100,  # all answered: once in 37,000 times
    ),
    Fault(
        "delay-500-ms",
        "A VirtualService delays productpage's requests by 500 ms",
        must=("app.productpage",),
        plant=_applies("delay-500-ms"),
    ),
    Fault(
        "rejected-configuration",
        "An EnvoyFilter that details' proxy rejects",
        must=("istio.proxies-synced",),
        plant=_applies("rejected-configuration"),
        heal=(bookinfo.DETAILS.selector,),
    ),
    Fault(
        "istiod-stopped",
        "istiod has no pod",
        must=("istio.control-plane", "istio.versions"),
        may=("istio.proxies-synced", "istio.analyze"),  # they can't be made
        plant=_no_istiod,
        scope="mesh",
    ),
    Fault(
        "edge-cut-by-firewall",
        "A firewall rule on a node refuses productpage's connections to details",
        must=("graph.edges",),
        may=("graph.agreement", "jaeger.productpage-traces", *QUERIES),
        groups=("app", "load"),
        plant=_cut_edge,
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
        scope="mesh",
    ),
    Fault(
        "jwt-issuer-changed",
        "The ingress gateway expects tokens of another issuer",
        must=("ingress.jwt",),
        groups=("app", "ingress"),
        edge=Edge(ingress=edge.issuer_changed),
        scope="mesh",
    ),
    Fault(
        "egress-opened",
        "The caller may reach hosts that nobody declared",
        must=("egress.blocked", "egress.gateway"),
        groups=("app", "egress"),
        edge=Edge(egress=edge.opened),
    ),
    Fault(
        "egress-direct-path",
        "The declared host is called directly, not through the egress gateway",
        must=("egress.gateway",),
        groups=("app", "egress"),
        edge=Edge(egress=edge.direct),
        scope="mesh",
    ),
    Fault(
        "allow-all-policy",
        "A policy of the namespace allows everything to everybody",
        must=("authz.truth-table", "audit.allow-all"),
        groups=("app", "authz", "audit"),
        plant=_applies("allow-all-policy"),
    ),
    Fault(
        "tls-switched-off",
        "A DestinationRule switches TLS off for reviews",
        must=("audit.destination-rule-tls",),
        may=("audit.analyze",),
        groups=("app", "audit"),
        plant=_applies("tls-switched-off"),
    ),
)
NAMES = tuple(fault.name for fault in FAULTS)


def choose(only: Sequence[str] = ()) -> tuple[Fault, ...]:
    """The faults with these names, or all, in the order of the catalogue. KeyError for an unknown name."""
    unknown = set(only) - set(NAMES)
    if unknown:
        raise KeyError(f"no fault {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return tuple(fault for fault in FAULTS if not only or fault.name in only)


def why_not(fault: Fault, scope: str, *, local: bool) -> str:
    """Say why a fault can't be planted with this write scope on this kind of cluster.

    Args:
        fault: The fault.
        scope: The write scope.
        local: The cluster is on this machine.

    Returns:
        The reason; empty where it can be planted.
    """
    if fault.local and not local:
        return "needs a node of the local cluster"
    order = ("observe", "namespace", "mesh")
    if order.index(fault.scope) > order.index(scope):
        return f"needs scope {fault.scope}"
    return ""
