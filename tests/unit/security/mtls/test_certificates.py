"""Certificates are read without keys, and a chain must lead to a root."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meshlab.core.errors import ExecError, QueryError
from meshlab.security.mtls.capture import CapturePlace
from meshlab.security.mtls.certificates import (
    chain_problem,
    held_by,
    identities,
    presented,
    rotation_due,
    row,
)
from tests.fakes.kube import FakeExecStream, FakeKube
from tests.unit.security.mtls.authority import Authority

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAME = "spiffe://cluster.local/ns/default/sa/sleep"
PLACE = CapturePlace("default", "caller-1", "meshlab-capture-1")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Dump:
    """A proxy's dump of secrets, as Envoy gives it: the key is blanked out."""

    def __init__(self, *names: str, leaf: x509.Certificate, root: x509.Certificate) -> None:
        def pem(certificate: x509.Certificate) -> str:
            return base64.b64encode(certificate.public_bytes(Encoding.PEM)).decode()

        parts = {
            "default": {
                "tls_certificate": {
                    "certificate_chain": {"inline_bytes": pem(leaf)},
                    "private_key": {"inline_bytes": base64.b64encode(b"[redacted]").decode()},
                }
            },
            "ROOTCA": {"validation_context": {"trusted_ca": {"inline_bytes": pem(root)}}},
        }
        at = "2026-11-23T11:00:00.000Z"
        self.configs = [{"name": name, "secret": parts[name], "last_updated": at} for name in names]

    def json(self, namespace: str, pod: str, port: int, path: str, params: object = None) -> object:
        assert (port, path, params) == (15000, "/config_dump", {"resource": "dynamic_active_secrets"})
        return {"configs": self.configs}


def test_what_a_proxy_holds_is_its_chain_and_its_roots(authority: Authority) -> None:
    leaf = authority.issue(NAME, NOW)
    found = held_by(Dump("default", "ROOTCA", leaf=leaf, root=authority.root), "default", "sleep-1")
    assert (found.leaf, found.roots, found.updated.hour) == (leaf, (authority.root,), 11)
    assert identities(found.leaf) == (NAME,)
    assert chain_problem(found.chain, found.roots) == ""


def test_a_proxy_without_certificates_is_told(authority: Authority) -> None:
    dump = Dump("default", leaf=authority.root, root=authority.root)
    with pytest.raises(QueryError, match="holds no workload certificate"):
        held_by(dump, "default", "sleep-1")


def test_a_chain_of_another_root_does_not_lead_anywhere(authority: Authority) -> None:
    leaf, other = authority.issue(NAME, NOW), Authority()
    assert "signature" in chain_problem((leaf,), (other.root,))
    assert chain_problem((leaf,), (other.root, authority.root)) == ""
    assert chain_problem((leaf, authority.root), (authority.root,)) == ""
    assert "signature" in chain_problem((leaf, other.root), (other.root,))
    assert chain_problem((leaf,), ()) == "there is no root"


def test_a_row_tells_times_and_no_key(authority: Authority) -> None:
    leaf = authority.issue(NAME, NOW)
    found = row(leaf, NOW)
    assert found["hours_left"] == 24.0
    assert rotation_due(leaf) == datetime(2026, 11, 24, 0, tzinfo=UTC)
    assert "BEGIN" not in json.dumps(found)


def test_a_handshake_gives_a_certificate_or_the_reason(authority: Authority) -> None:
    leaf = authority.issue(NAME, NOW)
    told = [
        {"certificate": base64.b64encode(leaf.public_bytes(Encoding.DER)).decode()},
        {"error": "timed out"},
    ]
    kube = FakeKube()
    kube.streams = [FakeExecStream([(1, json.dumps(told).encode())])]
    found = presented(kube, PLACE, [("10.0.0.2", 9080), ("2001:db8:42::16", 9080)])
    assert found == {"10.0.0.2:9080": leaf, "[2001:db8:42::16]:9080": "timed out"}
    kube.streams = [FakeExecStream([(1, b"no json")])]
    with pytest.raises(ExecError, match="answered 'no json'"):
        presented(kube, PLACE, [("10.0.0.2", 9080)])
