"""Keys and certificates of a cluster: its authority, and one more for what the API server passes on to extensions.

All of it is made in memory first. Which names and organizations Kubernetes expects: its documentation, "PKI
certificates and requirements". Elliptic-curve keys (P-256): made in a millisecond, and everything in the cluster
accepts them.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshlab.clusters.local.layout import Layout
from meshlab.core.files import write_atomically

VALID = datetime.timedelta(days=365)
FRONT_PROXY = "front-proxy-client"  # whom an extension API server believes when it names a user
SKEW = datetime.timedelta(hours=1)  # a clock that is set back a little must not make them invalid
USAGES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate, both PEM."""

    key: bytes = field(repr=False)  # a value that is logged by mistake must not tell it
    certificate: bytes

    def write(self, directory: Path, name: str) -> None:
        """Write NAME.key (mode 0600) and NAME.crt.

        Args:
            directory: The folder. It is made where it is missing.
            name: The files' name without its ending.
        """
        write_atomically(directory / f"{name}.key", self.key, mode=0o600)
        write_atomically(directory / f"{name}.crt", self.certificate)


class Authority:
    """A certificate authority that lives as long as this object; `certificate` is its own, PEM.

    lifetime: how long its certificate is valid, from now on.
    """

    def __init__(self, common_name: str, *, lifetime: datetime.timedelta = VALID) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(common_name, ())
        builder = _builder(self._name, self._name, self._key.public_key(), lifetime)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.certificate = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        common_name: str,
        *,
        organizations: Sequence[str] = (),
        dns: Sequence[str] = (),
        addresses: Sequence[str] = (),
        lifetime: datetime.timedelta = VALID,
    ) -> KeyPair:
        """Issue a key pair for a client and server.

        Args:
            common_name: Whom it names.
            organizations: For Kubernetes: the groups of the client.
            dns: Host names it may serve under.
            addresses: IP addresses it may serve under.
            lifetime: It is valid from SKEW ago until so long from now; a negative value, smaller than SKEW, makes a
                certificate that has expired.

        Returns:
            The key and its certificate.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name, organizations), self._name, key.public_key(), lifetime)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(USAGES), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return KeyPair(_pem(key), signed.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # Not PKCS #8: the API server takes a token key only in the older form (k8s.io/client-go/util/keyutil).
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def write_all(layout: Layout, *, users: Sequence[str] = ()) -> None:
    """Write the authorities' certificates and every key pair of the cluster into the layout's pki folder.

    The cluster authority's own key is written too: the controller manager signs certificate requests with it. The
    front proxy has an authority of its own, whose key is kept nowhere: who could get a certificate for the front
    proxy from the cluster's authority, might claim to be any user at an extension API server (Kubernetes'
    documentation, "Configure the aggregation layer").

    Args:
        layout: The cluster.
        users: Names of further users, who may do what roles allow them.
    """
    authority = Authority(f"{layout.name} cluster")
    write_atomically(layout.ca, authority.certificate)
    write_atomically(layout.pki / "ca.key", _pem(authority._key), mode=0o600)
    service = f"kubernetes.default.svc.{layout.domain}"
    parts = service.split(".")
    authority.issue(
        "kube-apiserver",
        dns=["localhost", layout.hub, *(".".join(parts[:count]) for count in range(1, len(parts) + 1))],
        addresses=["127.0.0.1", layout.hub_address, layout.hub_link_address, layout.kubernetes_service],
    ).write(layout.pki, "apiserver")
    front_proxy = Authority(f"{layout.name} front-proxy")
    write_atomically(layout.front_proxy_ca, front_proxy.certificate)
    front_proxy.issue(FRONT_PROXY).write(layout.pki, FRONT_PROXY)
    administrators = ["system:masters"]
    authority.issue("meshlab-admin", organizations=administrators).write(layout.pki, "admin")
    authority.issue("kube-apiserver-kubelet-client", organizations=administrators).write(
        layout.pki, "apiserver-kubelet"
    )
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        authority.issue(f"system:{name}").write(layout.pki, name)
    for name in users:
        authority.issue(name).write(layout.pki, name)
    for node in layout.nodes:
        authority.issue(
            f"system:node:{node.name}",
            organizations=["system:nodes"],
            dns=[node.name],
            addresses=[node.address, "127.0.0.1"],
        ).write(layout.pki, node.name)
    # The key that signs service accounts' tokens is no certificate: API server and controller manager share
    # it.
    key = ec.generate_private_key(ec.SECP256R1())
    write_atomically(layout.pki / "service-accounts.key", _pem(key), mode=0o600)
