from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from meshlab.core.errors import IstioError, NotHereError
from meshlab.security.mtls.certificates import chain_problem
from meshlab.security.rotation.authorities import Signer, intermediate, new_root, own_authority, plugged
from tests.fakes.kube import FakeKube

SYSTEM = "istio-system"


def secret(name: str, data: dict[str, bytes]) -> dict[str, Any]:
    coded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    meta = {"name": name, "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": coded}


def cluster(*secrets: dict[str, Any]) -> FakeKube:
    kube = FakeKube()
    kube.kinds["v1", "Secret"] = True
    for each in secrets:
        kube.put(each)
    return kube


def own() -> tuple[dict[str, Any], Any]:
    root = new_root()
    content = plugged(root, [root])
    data = {name: content[name].encode() for name in ("ca-cert.pem", "ca-key.pem")}
    return secret("istio-ca-secret", data), root


def test_istiods_own_authority_is_read_with_its_key_and_shows_none() -> None:
    stored, root = own()
    found = own_authority(cluster(stored), SYSTEM)  # type: ignore[arg-type]
    assert found.certificate == root.certificate
    assert found.signed(intermediate(found, "one").certificate)
    assert "PRIVATE" not in repr(found) and "key" not in repr(found).lower().replace("x509", "")


def test_another_authority_is_left_alone() -> None:
    stored, _ = own()
    with pytest.raises(NotHereError, match="plugged in"):
        own_authority(cluster(stored, secret("cacerts", {})), SYSTEM)  # type: ignore[arg-type]
    with pytest.raises(NotHereError, match="no authority of its own"):
        own_authority(cluster(), SYSTEM)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [{}, {"ca-cert.pem": b"x", "ca-key.pem": b"SECRET-TEXT"}])
def test_a_secret_without_a_key_is_an_error_that_tells_nothing_of_it(data: dict[str, bytes]) -> None:
    with pytest.raises(IstioError) as raised:
        own_authority(cluster(secret("istio-ca-secret", data)), SYSTEM)  # type: ignore[arg-type]
    assert "SECRET-TEXT" not in str(raised.value) and raised.value.__cause__ is None


def test_an_intermediate_leads_to_its_root_and_to_no_other() -> None:
    first, second = new_root(), new_root()
    below = intermediate(first, "meshlab intermediate")
    assert chain_problem([below.certificate], [first.certificate]) == ""
    assert chain_problem([below.certificate], [second.certificate]) != ""
    assert first.signed(below.certificate) and not second.signed(below.certificate)
    assert below.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_what_istiod_is_given_is_one_signer_and_all_roots() -> None:
    first, second = new_root(), new_root()
    below = intermediate(first, "meshlab intermediate")
    content = plugged(below, [first, second])
    assert set(content) == {"ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"}
    roots = x509.load_pem_x509_certificates(content["root-cert.pem"].encode())
    assert roots == [first.certificate, second.certificate]
    key = serialization.load_pem_private_key(content["ca-key.pem"].encode(), None)
    assert key.public_key() == below.certificate.public_key()


@pytest.mark.parametrize("digest", [b"\x07" * 20, None], ids=["another way to name a key", "no name at all"])
def test_an_intermediate_names_its_roots_key_as_the_root_does(digest: bytes | None) -> None:
    """Go names keys by SHA-256 since 1.25: by a name that it computes itself a proxy does not find istiod's root."""
    plain, now = new_root(), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.certificate.subject)
        .issuer_name(plain.certificate.subject)
        .public_key(plain.key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if digest is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(digest), critical=False)
    root = Signer(builder.sign(plain.key, hashes.SHA256()), plain.key)
    below = intermediate(root, "meshlab intermediate").certificate.extensions
    named = [each.value for each in below if isinstance(each.value, x509.AuthorityKeyIdentifier)]
    assert [each.key_identifier for each in named] == ([] if digest is None else [digest])
