"""Credentials: each kind lets a client in, none is shown, and what can't be understood is said without its value."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.auth.exceptions import DefaultCredentialsError

from meshlab.clusters.local.certificates import Authority
from meshlab.core.access import OPEN, Access, access_of, hold_keys
from meshlab.core.errors import InputError, QueryError
from meshlab.core.http import Getter
from meshlab.core.redaction import redact
from meshlab.observability.addons.credentials import GoogleToken, read_access
from meshlab.observability.addons.query import PrometheusClient
from tests.fakes.tls_server import ClosedServer

BASIC = "Basic " + base64.b64encode(b"me:verysecret-word").decode()
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def nothing_is_held_afterwards() -> Iterator[None]:
    yield
    hold_keys({})


def both(url: str, access: Access) -> None:
    """Ask by both ways of asking: Prometheus's library, and our own."""
    PrometheusClient(url, access=access).ready()
    Getter(url, timeout=5, name="it", remedy="look", access=access).json("/api/status")


@pytest.mark.parametrize(
    ("document", "kind", "wants"),
    [
        ("{bearer: verysecret-token}", "bearer", "Bearer verysecret-token"),
        (json.dumps({"username": "me", "password": "verysecret-word"}), "basic", BASIC),
        ("username: me\npassword: verysecret-word\n", "basic", BASIC),
    ],
)
def test_tokens_and_passwords_below_a_path(document: str, kind: str, wants: str) -> None:
    access = read_access("X", document)
    assert access.kind == kind
    with ClosedServer(wants=wants, prefix="/prom") as server:
        both(server.url, access)
        for asked in (
            lambda: both(server.url, OPEN),
            lambda: both(server.url, read_access("X", "{bearer: wrong-one}")),
        ):
            with pytest.raises(QueryError, match="401") as caught:
                asked()
            assert not caught.value.retryable and "CREDENTIALS" in caught.value.remedy
    assert "verysecret" not in repr(access) and "verysecret" not in redact(f"x {document} {wants}")


def test_an_authority_of_its_own_and_a_name_that_is_not_the_address(tmp_path: Path) -> None:
    authority, other = Authority("ours", lifetime=HOUR), Authority("ours", lifetime=HOUR)
    keys = authority.issue("server", dns=["prometheus.monitoring.svc"], lifetime=HOUR)
    file = tmp_path / "ca.crt"
    file.write_bytes(authority.certificate)
    with ClosedServer(keys=keys) as server:
        for ca in (str(file), authority.certificate.decode()):
            both(
                server.url,
                read_access("X", json.dumps({"ca": ca, "server_name": "prometheus.monitoring.svc"})),
            )
        for given in (
            {"ca": str(file)},  # the address is not in the certificate
            {"ca": str(file), "server_name": "grafana.monitoring.svc"},
            {"ca": other.certificate.decode(), "server_name": "prometheus.monitoring.svc"},
            {
                "bearer": "x-y-z-token",
                "server_name": "prometheus.monitoring.svc",
            },  # the system does not know it
        ):
            with pytest.raises(QueryError, match=r"(?i)certificate"):
                both(server.url, read_access("X", json.dumps(given)))
    assert server.asked.count("/api/status") == 2


def test_a_client_s_certificate_is_shown_and_its_key_is_not_left_behind(tmp_path: Path) -> None:
    servers, clients = Authority("servers", lifetime=HOUR), Authority("clients", lifetime=HOUR)
    keys = servers.issue("server", addresses=["127.0.0.1"], lifetime=HOUR)
    mine = clients.issue("me", lifetime=HOUR)
    certificate, key = tmp_path / "me.crt", tmp_path / "me.key"
    certificate.write_bytes(mine.certificate)
    key.write_bytes(mine.key)
    given = {
        "ca": servers.certificate.decode(),
        "client_certificate": str(certificate),
        "client_key": str(key),
    }
    access = read_access("X", json.dumps(given))
    assert access.kind == "client certificate"
    key.unlink()  # it was read once
    with ClosedServer(keys=keys, clients=clients) as server:
        both(server.url, access)
        with pytest.raises(QueryError):
            both(server.url, read_access("X", json.dumps({"ca": given["ca"]})))
    assert mine.key.decode() not in redact(mine.key.decode())


@pytest.mark.parametrize(
    "document",
    [
        "verysecret",
        "[verysecret]",
        "{verysecret-field: 1}",
        "{bearer: ''}",
        "{username: verysecret}",
        "{username: a, password: verysecret, bearer: b}",
        "{client_certificate: verysecret}",
        "{ca: /nowhere/verysecret.pem}",
        "{ca: '-----BEGIN CERTIFICATE----- verysecret'}",
        "{bearer: {verysecret: [}",
    ],
)
def test_what_can_t_be_understood_is_one_error_without_a_value(document: str) -> None:
    with pytest.raises(InputError) as caught:
        read_access("MESH_LAB_PROMETHEUS_CREDENTIALS", document)
    assert "MESH_LAB_PROMETHEUS_CREDENTIALS" in caught.value.message and caught.value.problems[0].remedy
    assert "verysecret" not in caught.value.message


class Credentials:
    """As google-auth's: not valid until they are refreshed."""

    def __init__(self) -> None:
        self.valid, self.token, self.refreshed = False, "", 0

    def refresh(self, _: object) -> None:
        self.refreshed += 1
        self.valid, self.token = True, f"verysecret-{self.refreshed}"


def test_google_s_tokens_are_renewed_and_hidden() -> None:
    found = Credentials()
    access = Access("google", auth=GoogleToken(lambda: found))
    with ClosedServer(wants="Bearer verysecret-1") as server:
        both(server.url, access)
    found.valid = False
    with ClosedServer(wants="Bearer verysecret-2") as server:
        both(server.url, access)
    assert found.refreshed == 2 and "verysecret" not in redact("a verysecret-1 and verysecret-2")
    assert read_access("X", "google\n").kind == "google"


def test_without_google_s_credentials_it_is_said_once_with_the_remedy() -> None:
    def none() -> object:
        raise DefaultCredentialsError("none found")

    with ClosedServer() as server, pytest.raises(QueryError, match="application-default") as caught:
        both(server.url, Access("google", auth=GoogleToken(none)))
    assert not caught.value.retryable and "gcloud" in caught.value.remedy and server.asked == []


def test_what_is_held_is_held_by_what_it_is_for() -> None:
    access = read_access("X", "{bearer: verysecret-token}")
    hold_keys({"prometheus": access})
    assert access_of("prometheus") is access and access_of("grafana") is OPEN
    hold_keys({})
    assert access_of("prometheus") is OPEN
