"""The facts of this mesh, frozen: what is called what, which control plane serves us, and what holds for us.

`meshlab.istio.facts` reads them. What can't be read is named in `Mesh.unknown` with the reason, and has the
value that Istio itself takes where nobody chose another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshlab.istio import in_force
from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.data_plane import UNKNOWN
from meshlab.istio.names import (
    CLUSTER_DOMAIN,
    DEFAULT_REVISION,
    ISTIOD,
    ISTIOD_SELECTOR,
    SYSTEM_NAMESPACE,
    TRUST_DOMAIN,
)

AMBIENT, SIDECAR_MODE, NO_MODE = "ambient", "sidecar", "none"  # of a namespace
ISTIO_EDGE, GATEWAY_API_EDGE, BOTH_EDGES, NO_EDGE = "istio", "gateway-api", "both", "none"  # of a mesh
INGRESS, EGRESS = "ingressgateway", "egressgateway"  # kinds of gateway: the label `istio` of their pods


@dataclass(frozen=True)
class Provider:
    """An extension provider of the mesh. kind: for instance prometheus, opentelemetry, or zipkin."""

    name: str
    kind: str
    service: str = ""
    port: int = 0


@dataclass(frozen=True)
class Gateway:
    """The Deployment of a gateway. kind: `ingressgateway` or `egressgateway`."""

    name: str
    namespace: str
    kind: str


@dataclass(frozen=True)
class Mesh:
    """The mesh as it is for one namespace.

    Attributes:
        namespace: The namespace for which it was read: ours.
        control_planes: Every istiod Deployment of the cluster.
        serving: The one that serves the namespace, or would if the namespace asked for sidecars; None where
            there is none or it can't be told.
        gateways: Istio's own, wherever they run.
        config_maps: `namespace/name` of those that make up the mesh's configuration, in the order of applying.
        config: The mesh's configuration, merged.
        trust_domain: The mesh's own one; `trust_domain_aliases`: others that mean the same.
        cluster_domain: With which the names of services end.
        root_namespace: Where policies hold for the whole mesh.
        mesh_mtls: Mutual TLS mode of the whole mesh; `mtls`: of the namespace.
        outbound: What becomes of calls to unknown hosts from the namespace; `outbound_from`: what says so.
        providers: All extension providers; `metrics`, `tracing`, `access_logs`: those in use in the namespace.
        sidecars: `native`, `container` or `unknown`.
        capture: How traffic reaches the sidecars: `init container`, `cni` or `unknown`.
        ambient: ztunnel is installed. mode: the namespace's: `sidecar`, `ambient` or `none`.
        edge: What lets callers from outside in, but for objects of ours: one of the four words below, or `unknown`.
        installed: What installed the control plane that serves us: `helm`, `istioctl` or `unknown`.
        unknown: Name of a fact → why it could not be read.
    """

    namespace: str
    control_planes: tuple[ControlPlane, ...] = ()
    serving: ControlPlane | None = None
    config_maps: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    trust_domain: str = TRUST_DOMAIN
    trust_domain_aliases: tuple[str, ...] = ()
    cluster_domain: str = CLUSTER_DOMAIN
    root_namespace: str = SYSTEM_NAMESPACE
    mesh_mtls: str = in_force.PERMISSIVE
    mtls: str = in_force.PERMISSIVE
    outbound: str = in_force.ALLOW_ANY
    outbound_from: str = "default"
    providers: tuple[Provider, ...] = ()
    metrics: tuple[str, ...] = ()
    tracing: tuple[str, ...] = ()
    access_logs: tuple[str, ...] = ()
    sidecars: str = UNKNOWN
    capture: str = UNKNOWN
    ambient: bool = False
    mode: str = NO_MODE
    edge: str = UNKNOWN
    installed: str = UNKNOWN
    unknown: Mapping[str, str] = field(default_factory=dict)
    gateways: tuple[Gateway, ...] = ()

    @property
    def system_namespace(self) -> str:
        """Where the control plane that serves us runs."""
        return self.serving.namespace if self.serving else SYSTEM_NAMESPACE

    @property
    def istiod(self) -> str:
        """Name of the Deployment and of the Service of the control plane that serves us."""
        return self.serving.name if self.serving else ISTIOD

    @property
    def istiod_selector(self) -> str:
        """Label selector of the pods of the control plane that serves us."""
        return self.serving.selector if self.serving else ISTIOD_SELECTOR

    @property
    def revision(self) -> str:
        """Of the control plane that serves us."""
        return self.serving.revision if self.serving else DEFAULT_REVISION

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """The mesh's own trust domain, then the aliases."""
        return (self.trust_domain, *self.trust_domain_aliases)

    @property
    def ingress_namespace(self) -> str:
        """Where the ingress gateway runs; without one, where the control plane does."""
        return self._gateway_namespace(INGRESS)

    @property
    def egress_namespace(self) -> str:
        """Where the egress gateway runs; without one, where the control plane does."""
        return self._gateway_namespace(EGRESS)

    @property
    def istio_namespaces(self) -> tuple[str, ...]:
        """Where control planes and gateways run, that of the one that serves us first."""
        planes = (each.namespace for each in self.control_planes)
        gateways = (each.namespace for each in self.gateways)
        return tuple(dict.fromkeys((self.system_namespace, *planes, *gateways)))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where Istio runs, then ours."""
        return tuple(dict.fromkeys((*self.istio_namespaces, self.namespace)))

    def _gateway_namespace(self, kind: str) -> str:
        mine = [each for each in self.gateways if each.kind == kind]
        usual = [each for each in mine if each.name == f"istio-{kind}"]  # of several, the one that is asked
        found = [each.namespace for each in usual or mine]
        return found[0] if found and self.system_namespace not in found else self.system_namespace

    @property
    def istiod_names(self) -> frozenset[tuple[str, str]]:
        """Namespace and name of every control plane's Deployment, which its Service and account share."""
        return frozenset((each.namespace, each.name) for each in self.control_planes)

    @property
    def tag_services(self) -> frozenset[tuple[str, str]]:
        """Namespace and name of the Service that each revision tag may have, beside that of its control plane.

        Source: revision-tags-svc.yaml of Istio's chart istio-discovery.
        """
        planes = self.control_planes
        return frozenset(
            (each.namespace, f"istiod-revision-tag-{tag}") for each in planes for tag in each.tags
        )

    def service_host(self, name: str, namespace: str | None = None) -> str:
        """Give the full name of a service.

        Args:
            name: The service's.
            namespace: Its namespace; ours where None.

        Returns:
            For instance `details.default.svc.cluster.local`.
        """
        return f"{name}.{namespace or self.namespace}.svc.{self.cluster_domain}"

    def principal(self, namespace: str, account: str) -> str:
        """Give an account's principal, as an AuthorizationPolicy names it.

        Args:
            namespace: The account's.
            account: Its name.

        Returns:
            For instance `cluster.local/ns/default/sa/sleep`.
        """
        return f"{self.trust_domain}/ns/{namespace}/sa/{account}"

    def spiffe(self, namespace: str, account: str) -> str:
        """Give an account's SPIFFE identity, as its certificate holds it.

        Args:
            namespace: The account's.
            account: Its name.

        Returns:
            For instance `spiffe://cluster.local/ns/default/sa/sleep`.
        """
        return f"spiffe://{self.principal(namespace, account)}"

    def as_json(self) -> dict[str, Any]:
        """The facts as `result.json` holds them: without the mesh's whole configuration."""
        planes = [
            {
                "name": each.name,
                "namespace": each.namespace,
                "revision": each.revision,
                "tags": list(each.tags),
                "version": each.version,
                "serves_us": each == self.serving,
            }
            for each in self.control_planes
        ]
        return {
            "namespace": self.namespace,
            "control_planes": planes,
            "config_maps": list(self.config_maps),
            "trust_domain": self.trust_domain,
            "trust_domain_aliases": list(self.trust_domain_aliases),
            "cluster_domain": self.cluster_domain,
            "root_namespace": self.root_namespace,
            "mtls": {"mesh": self.mesh_mtls, "namespace": self.mtls},
            "outbound": {"mode": self.outbound, "set_by": self.outbound_from},
            "metrics": list(self.metrics),
            "tracing": list(self.tracing),
            "access_logs": list(self.access_logs),
            "sidecars": self.sidecars,
            "capture": self.capture,
            "ambient": self.ambient,
            "namespace_mode": self.mode,
            "edge": self.edge,
            "installed_by": self.installed,
            "unknown": dict(self.unknown),
        }
