"""What a fault is: data that is declared before it is planted, and the one function that plants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from meshlab.config.settings import LabConfig
from meshlab.faults.firewall import Firewall
from meshlab.faults.held_mount import HeldMount
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.security.gateways.ingress import Alter, unchanged
from meshlab.security.gateways.pki import LIFETIME

# Families of checks that are made together → the checks that they make.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "cluster": ("cluster.nodes-ready", "cluster.version"),
    "app": ("app.bookinfo", "app.productpage", "envoy.scrape", "envoy.dashboard"),
    "istio": (
        "istio.cli",
        "istio.control-plane",
        "istio.injection",
        "istio.versions",
        "istio.proxies-synced",
        "istio.analyze",
    ),
    "load": (
        "prometheus.targets",
        "prometheus.requests-total",
        "prometheus.code-200",
        "prometheus.sleep-to-productpage",
        "prometheus.reconcile",
        "graph.edges",
        "graph.agreement",
        "jaeger.productpage-traces",
    ),
    "grafana": ("grafana.mesh", "grafana.service", "grafana.workload", "grafana.all-panels"),
    "mtls": ("mtls.refusal", "mtls.packets", "mtls.identity", "mtls.counter"),
    "authz": ("authz.truth-table",),
    "ingress": ("ingress.https", "ingress.mtls", "ingress.jwt"),
    "gateway": ("gateway.https", "gateway.mtls", "gateway.jwt"),
    "egress": ("egress.blocked", "egress.gateway"),
    "audit": (
        "audit.strict-mtls",
        "audit.default-deny",
        "audit.allow-all",
        "audit.deny-by-path",
        "audit.gateway-hosts",
        "audit.gateway-tls",
        "audit.destination-rule-tls",
        "audit.egress-policy",
        "audit.sidecars",
        "audit.analyze",
    ),
    "uninstall": ("uninstall.nothing-left",),
    "teardown": ("teardown.nothing-left",),
}

QUERIES = (
    "prometheus.requests-total",
    "prometheus.code-200",
    "prometheus.sleep-to-productpage",
)
# What says less where a part of the traffic, or of what is seen of it, is gone.
SEEN = (*QUERIES, "prometheus.reconcile", "graph.edges", "graph.agreement", "jaeger.productpage-traces")
STRICT = ("mtls", "audit")  # groups whose checks hold only where mutual TLS is demanded


@dataclass(frozen=True)
class Site:
    """Where a fault is planted.

    changes: what undoes itself. mesh: what is called what. firewall: None where no node can be entered.
    mount: None where the cluster has no folder on this machine.
    """

    kube: Kube
    istioctl: Istioctl
    config: LabConfig
    changes: Changes
    mesh: Mesh
    firewall: Firewall | None = None
    mount: HeldMount | None = None

    @property
    def namespace(self) -> str:
        """The app's namespace."""
        return self.config.namespace


@dataclass(frozen=True)
class Edge:
    """What is wrong with the objects that the stages of the mesh's edge apply and take away themselves.

    ingress, egress, gateway (the edge by Gateway API): what becomes of them. lifetime: of the gateways' certificates.
    """

    ingress: Alter = unchanged
    gateway: Alter = unchanged
    egress: Alter = unchanged
    lifetime: timedelta = LIFETIME


NO_FAULT = Edge()


def nothing(site: Site) -> None:
    """Nothing is planted beforehand: the fault is in what a stage applies."""


@dataclass(frozen=True)
class Fault:
    """One thing that is broken on purpose.

    must: checks that have to turn red. may: checks that can turn red with it; any other red one is as bad as
    a miss. groups: families of checks that are made while it is planted; all others of them must stay green.
    scope: the write scope that planting needs. local: needs a node of the local cluster. enforced: needs a cluster that
    enforces NetworkPolicies. heal: selectors of
    pods (of the app's namespace) that don't forget it: they are restarted once it is gone. restarts_prometheus:
    so is the pod of Prometheus, which reads its configuration when it starts. takes_nodes: once it is gone, it is waited
    until every node is Ready again. pages: requests of
    app.productpage while it is planted; a fault of some requests only needs many to be seen. edge: for a fault
    in what the stages of the edge apply. culprit: the object that the causes should name, where it is not the
    one in `faults.yaml`: Kind NAMESPACE/name, or SYSTEM for the control plane's; `*` stands for any text. last: planted
    while the lab is removed, and only where the run removes it; what it plants is named by the checks that catch it.
    """

    name: str
    title: str
    must: tuple[str, ...]
    plant: Callable[[Site], None] = field(default=nothing, repr=False)
    groups: tuple[str, ...] = ("app", "istio")
    may: tuple[str, ...] = ()
    scope: str = "namespace"
    local: bool = False
    enforced: bool = False
    heal: tuple[str, ...] = ()
    restarts_prometheus: bool = False
    takes_nodes: bool = False
    pages: int = 20
    edge: Edge = field(default=NO_FAULT, repr=False)
    culprit: str = ""
    last: bool = False

    @cached_property
    def checks(self) -> tuple[str, ...]:
        """Every check that is made while the fault is planted."""
        return tuple(check for group in self.groups for check in GROUPS[group])

    @property
    def check_id(self) -> str:
        """The id of its own check in `result.json`: whether it was caught."""
        return f"sabotage.{self.name}"
