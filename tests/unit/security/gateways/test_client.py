import socket
import ssl
from collections.abc import Iterator

import pytest

from meshlab.security.gateways import client
from meshlab.security.gateways.client import ask, can_speak, trusting
from meshlab.security.gateways.ingress import HOSTS, MUTUAL, SECURE
from meshlab.security.gateways.pki import EXPIRED, GatewayKeys, make_keys
from meshlab.security.gateways.tokens import Issuer
from tests.fakes.gateway import FakeGateway

PATH = "/productpage"


@pytest.fixture(scope="module")
def keys() -> GatewayKeys:
    return make_keys(*HOSTS)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def gateway(keys: GatewayKeys, issuer: Issuer) -> Iterator[FakeGateway]:
    with FakeGateway(keys, issuer) as served:
        yield served


def test_a_page_comes_with_what_the_handshake_agreed_on(gateway: FakeGateway, keys: GatewayKeys) -> None:
    reply = ask(gateway.https.port, SECURE, PATH, context=trusting(keys.authority))
    assert (reply.status, reply.tls) == (200, "TLSv1.3")
    assert reply.certificate["subjectAltName"] == (("DNS", SECURE),)
    assert "<title>" in reply.body


def test_a_redirect_is_told_and_not_followed(gateway: FakeGateway) -> None:
    reply = ask(gateway.http.port, SECURE, PATH)
    assert (reply.status, reply.location, reply.tls) == (301, f"https://{SECURE}{PATH}", "")


def test_refusals_name_their_cause(gateway: FakeGateway, keys: GatewayKeys) -> None:
    port = gateway.https.port
    strange = trusting(keys.authority, any_name=True)
    told = {
        "name": ask(port, SECURE, PATH, context=strange, server_name="x.test").refusal,
        "version": ask(port, SECURE, PATH, context=trusting(keys.authority, only=client.OLD)).refusal,
        "no certificate": ask(port, MUTUAL, PATH, context=trusting(keys.authority)).refusal,
        "authority": ask(port, MUTUAL, PATH, context=trusting(keys.authority, client=keys.stranger)).refusal,
        "own trust": ask(port, SECURE, PATH, context=trusting(keys.clients_authority)).refusal,
    }
    assert told["name"] == "TLS alert unrecognized name in the handshake"
    assert told["version"] == "TLS alert protocol version in the handshake"
    assert told["no certificate"] == "connection closed in the request"
    assert told["authority"].startswith(("TLS alert unknown ca", "connection closed"))
    assert told["own trust"].startswith("certificate not accepted")


def test_an_expired_certificate_is_not_accepted(issuer: Issuer) -> None:
    keys = make_keys(*HOSTS, lifetime=EXPIRED)
    with FakeGateway(keys, issuer) as gateway:
        reply = ask(gateway.https.port, SECURE, PATH, context=trusting(keys.authority))
    assert reply.refusal == "certificate not accepted (certificate has expired) in the handshake"


def test_nobody_there_is_no_refusal_by_a_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reply = ask(port, SECURE, PATH)
    assert reply.status is None
    assert "refused in the connection" in reply.refusal.lower()


@pytest.mark.parametrize("version", ["TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_this_client_can_speak_what_it_must_see_refused(version: str) -> None:
    assert can_speak(ssl.TLSVersion[version]) == version.replace("_", ".")
