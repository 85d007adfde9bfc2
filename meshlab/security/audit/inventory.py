"""What the audit looks at: the cluster's objects, read once. Of a Secret only its certificate is ever kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from meshlab.core.errors import KubeError
from meshlab.istio.findings import Finding as Analyzed
from meshlab.istio.gateway_api import outer
from meshlab.istio.mesh import Mesh
from meshlab.istio.names import CONFIG_MAP, DEFAULT_REVISION, of_revision
from meshlab.kube.client import Kube
from meshlab.security.audit.certificates import Certificate, gateway_certificates, root_certificates
from meshlab.security.audit.objects import Object

KINDS: Mapping[str, str] = {
    "Namespace": "v1",
    "Pod": "v1",
    "Service": "v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "Gateway": "networking.istio.io/v1",
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "Sidecar": "networking.istio.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    # The name of a kind ends with its group where another has the same.
    "Gateway.gateway.networking.k8s.io": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "GatewayClass": "gateway.networking.k8s.io/v1",
}
KUBERNETES_GATEWAY = "Gateway.gateway.networking.k8s.io"
GATEWAY_API = (KUBERNETES_GATEWAY, "HTTPRoute", "GatewayClass")
# Read of all namespaces, because what stands in one concerns another.
EVERYWHERE = ("RoleBinding", "ClusterRoleBinding", "VirtualService", "HTTPRoute", "GatewayClass")
CERTIFICATE, MESH_CONFIG = "certificate", "mesh configuration"  # read beside the kinds
ANALYSIS, VERSIONS = "istioctl analyze", "istioctl version"  # told by istioctl
KUBE_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
FORBIDDEN = (401, 403)
# Facts without which the mesh's configuration is not known.
CONFIG_FACTS = ("control_planes", "serving", "mesh configuration")


@dataclass(frozen=True)
class Inventory:
    """The cluster as the rules see it; `objects` holds those of the audited namespaces and of the whole cluster.

    namespaces: audited, sorted. unreadable: kind → why it could not be read. withheld: kind → why this account
    is not meant to read it. versions: of control plane and proxies, each once. today: what dates are compared with.
    """

    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ()
    facts: Mesh = field(default_factory=lambda: Mesh(""))
    certificates: tuple[Certificate, ...] = ()
    certificate_days: int = 30
    analyzed: tuple[Analyzed, ...] = ()
    versions: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    now: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    withheld: Mapping[str, str] = field(default_factory=dict)

    @property
    def today(self) -> date:
        """The day of `now`."""
        return self.now.date()

    @property
    def mesh(self) -> Mapping[str, Any]:
        """The mesh's configuration."""
        return self.facts.config

    @property
    def root(self) -> str:
        """The namespace whose policies hold for the whole mesh."""
        return self.facts.root_namespace

    @property
    def system(self) -> tuple[str, ...]:
        """Namespaces of control planes, and the root namespace."""
        return system_namespaces(self.facts)

    @property
    def mesh_name(self) -> str:
        """What findings about the mesh's configuration name: the ConfigMap of it that is the control plane's own."""
        name = of_revision(CONFIG_MAP, self.facts.revision)
        return f"MeshConfig {[f'{self.facts.system_namespace}/{name}', *self.facts.config_maps][-1]}"

    @property
    def tag(self) -> str:
        """What `istio.io/rev` of a namespace names; empty where `istio-injection` calls a control plane."""
        planes = self.facts.control_planes
        if not planes or any(DEFAULT_REVISION in (each.revision, *each.tags) for each in planes):
            return ""
        return next(iter(self.facts.serving.tags), self.facts.revision) if self.facts.serving else ""

    def of(self, kind: str, namespace: str | None = None) -> tuple[Object, ...]:
        """List objects of a kind.

        Args:
            kind: Of the object, as in `Deployment`.
            namespace: Of one namespace; of all audited ones where None.

        Returns:
            The objects.
        """
        every = self.objects.get(kind, ())
        return tuple(o for o in every if namespace is None or o["metadata"].get("namespace") == namespace)

    def running(self, namespace: str | None = None) -> tuple[Object, ...]:
        """Pods that are not over."""
        return tuple(
            pod
            for pod in self.of("Pod", namespace)
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
            and "deletionTimestamp" not in pod["metadata"]
        )


def system_namespaces(facts: Mesh) -> tuple[str, ...]:
    """Namespaces of control planes, and the root namespace."""
    homes = [each.namespace for each in facts.control_planes] or [facts.system_namespace]
    return tuple(dict.fromkeys((*homes, facts.root_namespace)))


def served(objects: Mapping[str, tuple[Object, ...]]) -> Iterator[Object]:
    """The Gateways of gateway.networking.k8s.io that Istio serves to callers from outside of the mesh."""
    yield from outer(objects.get(KUBERNETES_GATEWAY, ()), objects.get("GatewayClass", ()))


def read_inventory(
    kube: Kube,
    namespaces: Sequence[str] | None,
    facts: Mesh,
    *,
    now: datetime,
    certificate_days: int = 30,
    analyzed: Iterable[Analyzed] = (),
    versions: Iterable[str] = (),
) -> Inventory:
    """Read all that the rules need, side by side.

    What may not be read is noted in `unreadable`, and the rules that need it can't be judged.

    Args:
        kube: Client of the cluster.
        namespaces: To audit; None for all but Kubernetes' own.
        facts: Of the mesh.
        now: The time of the audit.
        certificate_days: Days before its end from which on a certificate is a finding.
        analyzed: Findings of `istioctl analyze`.
        versions: Versions of Istio that run.

    Returns:
        The inventory.

    Raises:
        KubeError: The API server refuses something for another reason than permissions.
    """
    unreadable: dict[str, str] = {}

    def listed(kind: str) -> tuple[Object, ...]:
        try:
            return tuple(kube.objects(KINDS[kind], kind.partition(".")[0]))
        except KubeError as problem:
            if problem.status == 404:  # a cluster that does not serve the kind has none of it
                return ()
            if problem.status not in FORBIDDEN:
                raise
            unreadable[kind] = problem.message
            return ()

    # The discovery is made once, before several threads would ask for it.
    first = listed("Namespace")
    with ThreadPoolExecutor(6, thread_name_prefix="audit") as pool:
        rest = dict(
            zip(KINDS, pool.map(lambda k: first if k == "Namespace" else listed(k), KINDS), strict=True)
        )
    found = tuple(each["metadata"]["name"] for each in first)
    audited = tuple(
        sorted(namespaces if namespaces is not None else (n for n in found if n not in KUBE_NAMESPACES))
    )
    for fact in CONFIG_FACTS:
        if fact in facts.unknown:
            unreadable.setdefault(MESH_CONFIG, facts.unknown[fact])
    kept = {kind: _kept(kind, objects, audited, facts.root_namespace) for kind, objects in rest.items()}
    certificates = tuple(
        each
        for read in (
            lambda: tuple(gateway_certificates(kube, kept["Gateway"], tuple(served(kept)), rest["Pod"])),
            lambda: tuple(root_certificates(kube, facts.system_namespace)),
        )
        for each in _allowed(read, CERTIFICATE, unreadable, ())
    )
    return Inventory(
        kept,
        audited,
        facts,
        certificates,
        certificate_days,
        tuple(analyzed),
        tuple(dict.fromkeys(versions)),
        unreadable,
        now,
    )


def _kept(kind: str, objects: tuple[Object, ...], audited: Sequence[str], root: str) -> tuple[Object, ...]:
    """Those that the audit is about: of its namespaces; policies of the root namespace; and all of what concerns others."""
    if kind in EVERYWHERE:
        return objects
    if kind == "Namespace":
        return tuple(each for each in objects if each["metadata"]["name"] in audited)
    inside = set(audited)
    if kind in ("PeerAuthentication", "AuthorizationPolicy", "Sidecar"):
        inside.add(root)
    return tuple(each for each in objects if each["metadata"].get("namespace") in inside)


def _allowed(read: Any, what: str, unreadable: dict[str, str], otherwise: Any) -> Any:
    try:
        return read()
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        unreadable[what] = problem.message
        return otherwise
