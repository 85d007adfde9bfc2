"""Every fault that can be planted, with the checks that must see it. A new one is one entry and its function."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.app import bookinfo
from meshlab.core.errors import ClusterError, KubeError
from meshlab.faults import edge, objects
from meshlab.faults.fault import Edge, Fault, Site
from meshlab.faults.scraping import wait_not_scraped
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef
from meshlab.kube.pods import PodSummary
from meshlab.security.gateways.pki import EXPIRED

NO_SUBSET, NOBODY = "v9", "nobody"  # names that nothing has
REJECTED_PERCENT = 200  # Envoy takes 0 to 100
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


def _no_sampling(site: Site) -> None:
    # Of two Telemetry objects for one namespace the older one wins; there is none but the mesh's own.
    tracing = [{"randomSamplingPercentage": 0.0}]
    site.changes.apply(
        objects.make(objects.TELEMETRY, "Telemetry", "no-sampling", site.namespace, {"tracing": tracing})
    )


def _missing_subset(site: Site) -> None:
    reviews = bookinfo.REVIEWS_V1.app
    site.changes.apply(objects.route("missing-subset", site.namespace, reviews, subset=NO_SUBSET))


def _abort(site: Site) -> None:
    fault = {"abort": {"httpStatus": 500, "percentage": objects.percent(10)}}
    site.changes.apply(objects.route("abort", site.namespace, bookinfo.PRODUCTPAGE.app, fault=fault))


def _delay(site: Site) -> None:
    fault = {"delay": {"fixedDelay": "0.5s", "percentage": objects.percent(100)}}
    site.changes.apply(objects.route("delay", site.namespace, bookinfo.PRODUCTPAGE.app, fault=fault))


def _no_sidecar(site: Site) -> None:
    # An annotation, not the label of the same name: a pod that opts out by label is expected to have none.
    off = {"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}}}}
    site.changes.patch(objects.deployment(bookinfo.DETAILS.name, site.namespace), off)


def _rejected(site: Site) -> None:
    value = {"common_lb_config": {"healthy_panic_threshold": {"value": REJECTED_PERCENT}}}
    spec = {
        "workloadSelector": {"labels": {"app": bookinfo.DETAILS.app}},
        "configPatches": [
            {
                "applyTo": "CLUSTER",
                "match": {"context": "SIDECAR_INBOUND"},
                "patch": {"operation": "MERGE", "value": value},
            }
        ],
    }
    site.changes.apply(objects.make(objects.FILTERS, "EnvoyFilter", "rejected", site.namespace, spec))


def _no_istiod(site: Site) -> None:
    site.changes.patch(objects.deployment("istiod", SYSTEM_NAMESPACE), {"spec": {"replicas": 0}})


def _cut_edge(site: Site) -> None:
    if site.firewall is None:
        raise ClusterError("this cluster's nodes can't be entered", remedy="plant it on the local cluster")
    caller, called = pod_of(site, bookinfo.PRODUCTPAGE), pod_of(site, bookinfo.DETAILS)
    site.firewall.cut(caller.node, caller.ip, called.ip, bookinfo.PORT)


def _wrong_account(site: Site) -> None:
    rules = [objects.from_account(site.namespace, NOBODY)]
    site.changes.apply(
        objects.allow("wrong-account", site.namespace, rules, app=bookinfo.PRODUCTPAGE.app),
    )


def _allow_all(site: Site) -> None:
    site.changes.apply(objects.allow("allow-all", site.namespace, [{}]))


def _permissive(site: Site) -> None:
    site.changes.apply(objects.peer_authentication("permissive", site.namespace, "PERMISSIVE"))


def _open_port(site: Site) -> None:
    site.changes.apply(
        objects.peer_authentication(
            "open-port", site.namespace, "STRICT", app=bookinfo.DETAILS.app, ports={bookinfo.PORT: "DISABLE"}
        )
    )


def _no_tls(site: Site) -> None:
    host = f"{bookinfo.REVIEWS_V1.app}.{site.namespace}.svc.cluster.local"
    spec = {"host": host, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    site.changes.apply(objects.make(objects.NETWORKING, "DestinationRule", "no-tls", site.namespace, spec))


FAULTS: tuple[Fault, ...] = (
    Fault(
        "permissive-left-on",
        "A PeerAuthentication of the namespace still takes plaintext, below a STRICT mesh",
        must=("mtls.refusal", "audit.strict-mtls"),
        groups=("app", "mtls", "audit"),
        plant=_permissive,
    ),
    Fault(
        "mtls-off-on-one-port",
        "Mutual TLS is disabled on the port of details",
        must=("mtls.refusal", "mtls.packets", "mtls.counter", "mtls.identity", "audit.strict-mtls"),
        groups=("app", "mtls", "audit"),
        plant=_open_port,
    ),
    Fault(
        "wrong-service-account",
        "A policy of productpage allows a service account that nobody has",
        must=("app.productpage",),  # the truth table agrees: it is refused as the policy says
        groups=("app", "authz"),
        plant=_wrong_account,
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
        plant=_no_sampling,
    ),
    Fault(
        "missing-subset",
        "A VirtualService sends reviews' traffic to a subset that is not there",
        must=("istio.analyze", "graph.edges"),
        may=("graph.agreement", "jaeger.productpage-traces", *QUERIES),
        groups=("app", "istio", "load"),
        plant=_missing_subset,
    ),
    Fault(
        "abort-10-percent",
        "A VirtualService answers 10 % of productpage's requests with a 500",
        must=("app.productpage",),
        plant=_abort,
        pages=100,  # all answered: once in 37,000 times
    ),
    Fault(
        "delay-500-ms",
        "A VirtualService delays productpage's requests by 500 ms",
        must=("app.productpage",),
        plant=_delay,
    ),
    Fault(
        "rejected-configuration",
        "An EnvoyFilter that details' proxy rejects",
        must=("istio.proxies-synced",),
        plant=_rejected,
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
        plant=_allow_all,
    ),
    Fault(
        "tls-switched-off",
        "A DestinationRule switches TLS off for reviews",
        must=("audit.destination-rule-tls",),
        may=("audit.analyze",),
        groups=("app", "audit"),
        plant=_no_tls,
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
