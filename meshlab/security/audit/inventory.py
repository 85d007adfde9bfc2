"""What the audit looks at: the cluster's objects, read once. Of a Secret only its certificate is ever kept."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from cryptography import x509

from meshlab.core.errors import KubeError
from meshlab.istio.istioctl import Finding as Analyzed
from meshlab.istio.mesh_config import mesh_config
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.client import Kube

Object = Mapping[str, Any]  # one of the cluster's, as the API gives it

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
}
CERTIFICATE, MESH_CONFIG = "certificate", "mesh configuration"  # read beside the kinds
ANALYSIS, VERSIONS = "istioctl analyze", "istioctl version"  # told by istioctl
KUBE_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
FORBIDDEN = (401, 403)
CERTIFICATE_KEYS = ("tls.crt", "cert")  # where Istio looks in a gateway's Secret
ROOT_CERTIFICATE = "istio-ca-root-cert"  # ConfigMap that istiod writes into every namespace


@dataclass(frozen=True)
class Certificate:
    """A certificate that serves. resource: where it is kept. used_by: what presents it."""

    resource: str
    used_by: str
    subject: str
    not_after: datetime


@dataclass(frozen=True)
class Inventory:
    """The cluster as the rules see it; `objects` holds those of the audited namespaces and of the whole cluster.

    namespaces: audited, sorted. unreadable: kind → why it could not be read. withheld: kind → why this account
    is not meant to read it. versions: of control plane and proxies, each once. today: what dates are compared with.
    """

    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ()
    mesh: Mapping[str, Any] = field(default_factory=dict)
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
    def root(self) -> str:
        """The namespace whose policies hold for the whole mesh."""
        return str(self.mesh.get("rootNamespace") or SYSTEM_NAMESPACE)

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


def read_inventory(
    kube: Kube,
    namespaces: Sequence[str] | None,
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
            return tuple(kube.objects(KINDS[kind], kind))
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
    mesh = _allowed(lambda: mesh_config(kube), MESH_CONFIG, unreadable, {})
    kept = {kind: _kept(kind, objects, audited, mesh) for kind, objects in rest.items()}
    certificates = tuple(
        each
        for read in (
            lambda: tuple(gateway_certificates(kube, kept["Gateway"], rest["Pod"])),
            lambda: tuple(root_certificates(kube)),
        )
        for each in _allowed(read, CERTIFICATE, unreadable, ())
    )
    return Inventory(
        kept,
        audited,
        mesh,
        certificates,
        certificate_days,
        tuple(analyzed),
        tuple(dict.fromkeys(versions)),
        unreadable,
        now,
    )


def _kept(
    kind: str, objects: tuple[Object, ...], audited: Sequence[str], mesh: Mapping[str, Any]
) -> tuple[Object, ...]:
    """Those that the audit is about: of its namespaces; policies of the root namespace; and bindings, all of them."""
    if kind in ("RoleBinding", "ClusterRoleBinding"):
        return objects
    if kind == "Namespace":
        return tuple(each for each in objects if each["metadata"]["name"] in audited)
    inside = set(audited)
    if kind in ("PeerAuthentication", "AuthorizationPolicy", "Sidecar"):
        inside.add(str(mesh.get("rootNamespace") or SYSTEM_NAMESPACE))
    return tuple(each for each in objects if each["metadata"].get("namespace") in inside)


def gateway_certificates(
    kube: Kube, gateways: Sequence[Object], pods: Sequence[Object]
) -> Iterable[Certificate]:
    """The certificates that gateways present. Keys are dropped as soon as they come.

    A gateway's Secret is looked for in the namespaces of the pods that it selects.
    """
    wanted: dict[tuple[str, str], str] = {}
    for gateway in gateways:
        spec = gateway.get("spec") or {}
        homes = {p["metadata"]["namespace"] for p in pods if _selected(p, spec.get("selector") or {})}
        for server in spec.get("servers") or []:
            name = (server.get("tls") or {}).get("credentialName")
            if name:
                meta = gateway["metadata"]
                wanted |= {(home, name): f"Gateway {meta['namespace']}/{meta['name']}" for home in homes}
    for (namespace, name), used_by in sorted(wanted.items()):
        secret = kube.get("v1", "Secret", name, namespace) or {}
        public = next((secret["data"][k] for k in CERTIFICATE_KEYS if k in (secret.get("data") or {})), "")
        del secret
        yield from _certificates(_decoded(public), f"Secret {namespace}/{name}", used_by)


def root_certificates(kube: Kube) -> Iterable[Certificate]:
    """The mesh's own root, which every proxy trusts."""
    root = kube.get("v1", "ConfigMap", ROOT_CERTIFICATE, SYSTEM_NAMESPACE)
    if root:
        text = (root.get("data") or {}).get("root-cert.pem", "")
        where = f"ConfigMap {SYSTEM_NAMESPACE}/{ROOT_CERTIFICATE}"
        yield from _certificates(text.encode(), where, "every proxy")


def _certificates(pem: bytes, resource: str, used_by: str) -> Iterable[Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return
    for each in chain:
        yield Certificate(
            resource, used_by, each.subject.rfc4514_string() or "(no subject)", each.not_valid_after_utc
        )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _selected(pod: Object, selector: Mapping[str, str]) -> bool:
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def _allowed(read: Any, what: str, unreadable: dict[str, str], otherwise: Any) -> Any:
    try:
        return read()
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        unreadable[what] = problem.message
        return otherwise
