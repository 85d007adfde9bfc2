"""The authorities of the drill: istiod's own root, another root, and an intermediate under each. Keys stay in memory."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from meshlab.core.errors import IstioError, NotHereError
from meshlab.kube.client import Kube

SELF_SIGNED, PLUGGED = (
    "istio-ca-secret",
    "cacerts",
)  # Secrets of istiod: its own authority, and one that it is given
KEY_SIZE = 2048  # bits, as Istio's own tools make them
LIFETIME, SKEW = timedelta(hours=6), timedelta(minutes=5)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signer:
    """A certificate with its key, which is not in its repr."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return pem_of([self.certificate])

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether this authority issued a certificate, and no other of the same name."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    """Certificates as PEM, one after the other."""
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


def own_authority(kube: Kube, namespace: str) -> Signer:
    """Read istiod's self-signed authority.

    Args:
        kube: Client of the cluster.
        namespace: Of the control plane.

    Returns:
        Its certificate and key.

    Raises:
        NotHereError: The mesh's authority is another one: plugged in, or outside the cluster.
        IstioError: The Secret does not hold a certificate and its key.
        KubeError: It may not be read.
    """
    if kube.get("v1", "Secret", PLUGGED, namespace) is not None:
        raise NotHereError(
            f"the mesh's authority is plugged in ({namespace}/{PLUGGED}): its root's key is not in the cluster",
            remedy="rotate it with the tools that made it; the drill needs istiod's own authority",
        )
    found = kube.get("v1", "Secret", SELF_SIGNED, namespace)
    if found is None:
        raise NotHereError(
            f"istiod has no authority of its own here (no Secret {namespace}/{SELF_SIGNED})",
            remedy="the drill needs istiod's own authority",
        )
    try:
        certificate, key = (
            base64.b64decode((found.get("data") or {})[name]) for name in ("ca-cert.pem", "ca-key.pem")
        )
        loaded = serialization.load_pem_private_key(key, None)
        parsed = x509.load_pem_x509_certificate(certificate)
    except (KeyError, ValueError, TypeError):  # its text could hold a part of the key
        raise IstioError(
            f"the Secret {namespace}/{SELF_SIGNED} holds no certificate with its key",
            remedy="look at istiod's log; it makes the Secret when it starts",
        ) from None
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise IstioError("istiod's authority has a key of a kind that can't sign here")
    return Signer(parsed, loaded)


def new_root() -> Signer:
    """Make another root."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
    name = _name("meshlab rotation root")
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return Signer(_certificate(name, key, name, key, own, path_length=1), key)


def intermediate(root: Signer, name: str) -> Signer:
    """Make an authority that a root has signed.

    Args:
        root: The root.
        name: Its common name.

    Returns:
        The authority.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
    issuer = root.certificate
    return Signer(
        _certificate(_name(name), key, issuer.subject, root.key, _identifier(issuer), path_length=0), key
    )


def plugged(signer: Signer, roots: Sequence[Signer]) -> dict[str, str]:
    """The content of the Secret from which istiod takes an authority.

    Args:
        signer: Signs workloads' certificates.
        roots: All that proxies shall trust.

    Returns:
        File name → text. It holds the signer's key.
    """
    key = signer.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return {
        "ca-cert.pem": signer.pem,
        "ca-key.pem": key.decode(),
        "cert-chain.pem": signer.pem,
        "root-cert.pem": pem_of([each.certificate for each in roots]),
    }


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "meshlab"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier | None:
    """The name that a certificate has for its key.

    It can't be computed from the key: Go has made it of SHA-1, and from 1.25 on of SHA-256. TLS libraries take an issuer
    for another one where a certificate names its key differently.
    """
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None


def _certificate(
    subject: x509.Name,
    key: PrivateKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    issuer_identifier: x509.SubjectKeyIdentifier | None,
    *,
    path_length: int,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer_identifier is not None:
        named = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier)
        builder = builder.add_extension(named, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
