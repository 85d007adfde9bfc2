"""The certificates that gateways present, and the mesh's root. Keys are dropped as soon as they come."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from meshlab.kube.client import Kube
from meshlab.security.audit.objects import Object

# Where Istio looks in a gateway's Secret (pilot/pkg/credentials/kube): for the certificate, and for whom it trusts.
PAIRS = (("cert", "key"), ("tls.crt", "tls.key"))
AUTHORITIES = ("cacert", "ca.crt")
AUTHORITY_SUFFIX = "-cacert"
MUTUAL = ("MUTUAL", "OPTIONAL_MUTUAL")
TERMINATE_MODE = "gateway.istio.io/tls-terminate-mode"
ROOT_CERTIFICATE = "istio-ca-root-cert"  # ConfigMap that istiod writes into every namespace
SCHEMES = ("kubernetes://", "kubernetes-gateway://")


@dataclass(frozen=True)
class Certificate:
    """A certificate that serves. resource: where it is kept. used_by: what presents it, or trusts it.

    keys: (key, what it holds) of what is written there to renew it; none where it is renewed elsewhere.
    """

    resource: str
    used_by: str
    subject: str
    not_after: datetime
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Credential:
    """A Secret or ConfigMap that a gateway names. authority: it is asked for whom the gateway trusts."""

    kind: str
    namespace: str
    name: str
    authority: bool = False


def gateway_certificates(
    kube: Kube, istio: Sequence[Object], kubernetes: Sequence[Object], pods: Sequence[Object]
) -> Iterator[Certificate]:
    """Read the certificates that gateways present, and those of whom they trust.

    Args:
        kube: Client of the cluster.
        istio: Istio's own Gateways; their Secrets are beside the pods that they select.
        kubernetes: Gateways of gateway.networking.k8s.io that Istio serves.
        pods: All pods.

    Returns:
        The certificates.

    Raises:
        KubeError: A Secret may not be read.
    """
    wanted: dict[Credential, str] = {}
    for gateway in istio:
        for each in _of_istio(gateway, pods):
            wanted.setdefault(each, _name("Gateway", gateway))
    for gateway in kubernetes:
        for each in _of_kubernetes(gateway):
            wanted.setdefault(each, _name("Gateway.gateway.networking.k8s.io", gateway))
    for credential, used_by in sorted(wanted.items(), key=lambda each: (each[0].namespace, each[0].name)):
        yield from _read(kube, credential, used_by)


def root_certificates(kube: Kube, namespace: str) -> Iterable[Certificate]:
    """The mesh's own root, which every proxy trusts. namespace: of the control plane. Raises KubeError."""
    root = kube.get("v1", "ConfigMap", ROOT_CERTIFICATE, namespace)
    if root:
        text = (root.get("data") or {}).get("root-cert.pem", "")
        yield from _certificates(text.encode(), f"ConfigMap {namespace}/{ROOT_CERTIFICATE}", "every proxy")


def _of_istio(gateway: Object, pods: Sequence[Object]) -> Iterator[Credential]:
    spec = gateway.get("spec") or {}
    chosen = spec.get("selector") or {}
    homes = {
        p["metadata"]["namespace"]
        for p in pods
        if chosen and chosen.items() <= (p["metadata"].get("labels") or {}).items()
    }
    for server in spec.get("servers") or []:
        tls = server.get("tls") or {}
        names = [
            *(tls.get("credentialNames") or []),
            *([tls["credentialName"]] if tls.get("credentialName") else []),
        ]
        for home in sorted(homes):
            for name in names:
                yield from _named(str(name), home)
                if tls.get("mode") in MUTUAL:
                    yield from _named(str(name), home, authority=True)
            if authority := tls.get("caCertCredentialName"):
                yield from _named(str(authority), home, authority=True)


def _named(name: str, home: str, *, authority: bool = False) -> Iterator[Credential]:
    """What a credential's name means; other schemes than Kubernetes' own are nothing of the cluster's."""
    if "://" in name:
        if not name.startswith(SCHEMES):
            return
        place, slash, name = name.partition("://")[2].rpartition("/")
        home = place if slash else home
    yield Credential("Secret", home, name, authority)


def _of_kubernetes(gateway: Object) -> Iterator[Credential]:
    home = gateway["metadata"]["namespace"]
    for listener in (gateway.get("spec") or {}).get("listeners") or []:
        tls = listener.get("tls") or {}
        mutual = (tls.get("options") or {}).get(TERMINATE_MODE) in MUTUAL
        for each in tls.get("certificateRefs") or []:
            if each.get("kind", "Secret") == "Secret" and not each.get("group"):
                where = str(each.get("namespace") or home)
                yield Credential("Secret", where, str(each["name"]))
                if mutual:
                    yield Credential("Secret", where, str(each["name"]), authority=True)
        for each in (tls.get("frontendValidation") or {}).get("caCertificateRefs") or []:
            if each.get("kind") in ("Secret", "ConfigMap"):
                yield Credential(
                    each["kind"], str(each.get("namespace") or home), str(each["name"]), authority=True
                )


def _read(kube: Kube, wanted: Credential, used_by: str) -> Iterator[Certificate]:
    """The certificates of one Secret or ConfigMap."""
    name, found = wanted.name, None
    if wanted.authority:
        base = name.removesuffix(AUTHORITY_SUFFIX)
        # istiod takes NAME-cacert, and NAME itself where that is not there.
        name, found = (
            f"{base}{AUTHORITY_SUFFIX}",
            kube.get("v1", wanted.kind, f"{base}{AUTHORITY_SUFFIX}", wanted.namespace),
        )
        if not found:
            name = base
    found = found or kube.get("v1", wanted.kind, name, wanted.namespace) or {}
    data = found.get("data") or {}
    del found
    resource, pem = f"{wanted.kind} {wanted.namespace}/{name}", ""
    keys: tuple[tuple[str, str], ...] = ()
    if wanted.authority:
        used_by = f"{used_by}, for whom it trusts"
        key = next((each for each in AUTHORITIES if data.get(each)), "")
        pem, keys = str(data.get(key, "")), ((key, "certificates of whom it trusts"),)
    else:
        for public, private in PAIRS:
            if data.get(public):
                pem, keys = str(data[public]), ((public, "certificate chain"), (private, "private key"))
                break
    del data
    content = pem.encode() if wanted.kind == "ConfigMap" else _decoded(pem)
    yield from _certificates(content, resource, used_by, keys)


def _certificates(
    pem: bytes, resource: str, used_by: str, keys: tuple[tuple[str, str], ...] = ()
) -> Iterable[Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return
    for each in chain:
        subject = each.subject.rfc4514_string() or "(no subject)"
        yield Certificate(resource, used_by, subject, each.not_valid_after_utc, keys)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _name(kind: str, gateway: Object) -> str:
    meta = gateway["metadata"]
    return f"{kind} {meta['namespace']}/{meta['name']}"
