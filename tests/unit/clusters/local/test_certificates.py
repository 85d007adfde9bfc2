from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from meshlab.clusters.local import certificates
from meshlab.clusters.local.certificates import Authority
from tests.unit.clusters.local.cluster_fixtures import layout_in


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _names(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str | bytes]:
    return [attribute.value for attribute in certificate.subject.get_attributes_for_oid(oid)]


def test_a_server_certificate_is_accepted_for_its_names_only(tmp_path: Path) -> None:
    layout = layout_in(tmp_path, domain="corp.local")
    certificates.write_all(layout)
    builder = PolicyBuilder().store(Store([_load(layout.ca)]))
    server = _load(layout.pki / "apiserver.crt")
    for address in (layout.hub_address, layout.kubernetes_service, "127.0.0.1"):
        builder.build_server_verifier(x509.IPAddress(ipaddress.ip_address(address))).verify(server, [])
    for name in ("kubernetes.default.svc", "kubernetes.default.svc.corp.local"):
        builder.build_server_verifier(x509.DNSName(name)).verify(server, [])
    foreign = (
        x509.DNSName("kubernetes.default.svc.cluster.local"),
        x509.DNSName("istiod.istio-system.svc"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
        x509.IPAddress(ipaddress.ip_address(layout.nodes[1].address)),
    )
    for subject in foreign:
        with pytest.raises(x509.verification.VerificationError):
            builder.build_server_verifier(subject).verify(server, [])
    node = layout.nodes[1]
    builder.build_server_verifier(x509.IPAddress(ipaddress.ip_address(node.address))).verify(
        _load(layout.pki / f"{node.name}.crt"), []
    )
    other = PolicyBuilder().store(Store([x509.load_pem_x509_certificate(Authority("other").certificate)]))
    with pytest.raises(x509.verification.VerificationError):
        other.build_server_verifier(x509.DNSName("kubernetes.default.svc")).verify(server, [])


def test_clients_carry_the_names_that_kubernetes_authorizes(tmp_path: Path) -> None:
    layout = layout_in(tmp_path, nodes=1)
    certificates.write_all(layout)
    expected = {
        "admin": ("meshlab-admin", ["system:masters"]),
        "kube-scheduler": ("system:kube-scheduler", []),
        "kube-controller-manager": ("system:kube-controller-manager", []),
        "kube-proxy": ("system:kube-proxy", []),
        "unit-node1": ("system:node:unit-node1", ["system:nodes"]),
        "apiserver-kubelet": ("kube-apiserver-kubelet-client", ["system:masters"]),
    }
    for file, (common_name, organizations) in expected.items():
        certificate = _load(layout.pki / f"{file}.crt")
        assert _names(certificate, NameOID.COMMON_NAME) == [common_name]
        assert _names(certificate, NameOID.ORGANIZATION_NAME) == organizations


def test_keys_are_private_and_belong_to_their_certificates(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    certificates.write_all(layout)
    keys = sorted(layout.pki.glob("*.key"))
    assert {key.stem for key in keys} >= {"ca", "apiserver", "admin", "service-accounts", "unit-node3"}
    for key in keys:
        assert key.stat().st_mode & 0o777 == 0o600
        assert key.read_bytes().startswith(b"-----BEGIN EC PRIVATE KEY-----"), (
            "the API server takes no other form"
        )
        certificate = key.with_suffix(".crt")
        if certificate.exists():
            assert (
                load_pem_private_key(key.read_bytes(), None).public_key() == _load(certificate).public_key()
            )


def test_the_front_proxy_is_vouched_for_by_an_authority_that_signs_nothing_else(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    certificates.write_all(layout)
    proxy, ours = _load(layout.pki / "front-proxy-client.crt"), _load(layout.front_proxy_ca)
    assert _names(proxy, NameOID.COMMON_NAME) == ["front-proxy-client"]
    proxy.verify_directly_issued_by(ours)
    assert not (layout.pki / "front-proxy-ca.key").exists()
    issued = [path.stem for path in layout.pki.glob("*.crt") if _load(path).issuer == ours.subject]
    assert sorted(issued) == ["front-proxy-ca", "front-proxy-client"]
