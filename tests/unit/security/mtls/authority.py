"""A certificate authority as istiod's: a root, and workload certificates that live a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)


class Authority:
    """Issues certificates; `root` is its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign(NAME, self._key.public_key(), BEGIN, END, ca=True)

    def issue(self, identity: str, begin: datetime) -> x509.Certificate:
        """A workload's certificate for one day."""
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        return self._sign(x509.Name([]), key, begin, begin + timedelta(days=1), identity=identity)

    def _sign(self, subject, key, begin, end, *, ca=False, identity=""):  # type: ignore[no-untyped-def]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(NAME)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if identity:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
            builder = builder.add_extension(names, critical=True)
        return builder.sign(self._key, hashes.SHA256())
