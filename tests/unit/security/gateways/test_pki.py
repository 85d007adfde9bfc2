import stat
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from meshlab.security.gateways import pki
from meshlab.security.gateways.client import trusting
from meshlab.security.gateways.pki import EXPIRED, LIFETIME, GatewayKeys, make_keys


@pytest.fixture(scope="module")
def keys() -> GatewayKeys:
    return make_keys("a.test", "b.test")


def read(certificate: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate)


def test_each_host_has_a_certificate_of_its_own_name_that_lives_an_hour(keys: GatewayKeys) -> None:
    for host, pair in keys.servers.items():
        found = read(pair.certificate)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [host]
        assert found.not_valid_after_utc - found.not_valid_before_utc <= 2 * LIFETIME
        found.verify_directly_issued_by(read(keys.authority))


def test_the_stranger_differs_from_the_client_by_who_signed_it_only(keys: GatewayKeys) -> None:
    client, stranger = read(keys.client.certificate), read(keys.stranger.certificate)
    assert (client.subject, client.issuer) == (stranger.subject, stranger.issuer)
    client.verify_directly_issued_by(read(keys.clients_authority))
    with pytest.raises(InvalidSignature):
        stranger.verify_directly_issued_by(read(keys.clients_authority))


def test_certificates_can_be_born_expired() -> None:
    found = read(make_keys("a.test", lifetime=EXPIRED).servers["a.test"].certificate)
    assert found.not_valid_before_utc < found.not_valid_after_utc
    assert found.not_valid_after_utc - found.not_valid_before_utc < LIFETIME


def test_no_key_is_told_by_mistake(keys: GatewayKeys) -> None:
    assert "PRIVATE" not in repr(keys) and "PRIVATE" not in repr(keys.client)


def test_a_key_is_a_file_only_while_it_is_loaded_and_only_ours_to_read(
    keys: GatewayKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []

    class Context:
        def load_cert_chain(self, certificate: Path, key: Path) -> None:
            seen.extend(stat.S_IMODE(path.stat().st_mode) for path in (key, key.parent))

    pki.load(Context(), keys.client)  # type: ignore[arg-type]
    assert seen == [0o600, 0o700]
    assert list(tmp_path.iterdir()) == []
    trusting(keys.authority, client=keys.client)
    assert list(tmp_path.iterdir()) == []
