"""Real Envoys on loopback addresses: each world's filters on a listener of its own, in front of a fixed answer."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from jwt.api_jws import PyJWS

from meshlab.core.waiting import wait
from tests.differential.envoy import ALLOW, DENY, FORBIDDEN_TOKEN, UNAUTHENTICATED, Wire

ANSWER = "let through"
HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"


class Keys:
    """A certificate authority, and the issuer of tokens: for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca, self._good, self._bad = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self._certificate("ca", "", self._ca)
        self._clients: dict[str, ssl.SSLContext] = {}
        self._one_at_a_time = Lock()
        self.server = self._certificate("server", "spiffe://server", ec.generate_private_key(ec.SECP256R1()))

    def jwks(self) -> str:
        key = json.loads(ECAlgorithm.to_jwk(self._good.public_key()))
        return json.dumps({"keys": [{**key, "kid": "k", "alg": "ES256", "use": "sig"}]})

    def token(self, claims: Mapping[str, Any], signed: bool) -> str:
        key = self._good if signed else self._bad
        return PyJWS().encode(json.dumps(claims).encode(), key, "ES256", headers={"kid": "k"})

    def client(self, san: str) -> ssl.SSLContext:
        with self._one_at_a_time:
            return self._client(san)

    def _client(self, san: str) -> ssl.SSLContext:
        if san not in self._clients:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            name = f"client{len(self._clients)}"
            context.load_cert_chain(*self._certificate(name, san, ec.generate_private_key(ec.SECP256R1())))
            self._clients[san] = context
        return self._clients[san]

    def _certificate(self, name: str, san: str, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named("ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=6))
            .add_extension(x509.BasicConstraints(ca=not san, path_length=None), critical=True)
        )
        if san:
            made = made.add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(san)]), critical=False
            )
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        signed = made.sign(self._ca, hashes.SHA256())
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def listener(
    address: str, port: int, filters: Sequence[Mapping[str, Any]], keys: Keys, *, merge_slashes: bool
) -> dict[str, Any]:
    """A listener that takes TLS with a client's certificate and plaintext, as a sidecar that is PERMISSIVE."""
    text = json.dumps(list(filters)).replace(json.dumps('{"keys":[]}'), json.dumps(keys.jwks()))
    manager = {
        "@type": HTTP,
        "stat_prefix": "x",
        "normalize_path": True,
        "merge_slashes": merge_slashes,
        "http_filters": [*json.loads(text), {"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": ""}, "direct_response": {"status": 200, "body": {"inline_string": ANSWER}}}]}]},
    }  # fmt: skip
    certificate, private = keys.server
    tls = {
        "@type": TLS,
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [
                {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(private)}}
            ],
            "validation_context": {"trusted_ca": {"filename": str(keys.folder / "ca.pem")}},
        },
    }  # fmt: skip
    chain = [{"name": "hcm", "typed_config": manager}]
    return {
        "name": f"{address}:{port}",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "listener_filters": [{"name": "tls", "typed_config": {"@type": INSPECTOR}}],
        "filter_chains": [
            {"name": "tls", "filter_chain_match": {"transport_protocol": "tls"}, "filters": chain,
             "transport_socket": {"name": "tls", "typed_config": tls}},
            {"name": "plain", "filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": chain},
        ],
    }  # fmt: skip


def ask(keys: Keys, wire: Wire) -> str:
    """Send the request, and say what became of it in the model's words."""
    headers = {"host": wire.authority, "x-forwarded-for": wire.remote, "connection": "close", **wire.headers}
    if wire.claims is not None:
        headers["authorization"] = f"Bearer {keys.token(wire.claims, wire.signed)}"
    lines = [f"{wire.method} {wire.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    where = (wire.destination, wire.port)
    with socket.create_connection(where, timeout=20, source_address=(wire.source, 0)) as raw:
        sent = keys.client(wire.san).wrap_socket(raw, server_hostname=wire.sni or None) if wire.san else raw
        sent.sendall("\r\n".join((*lines, "", "")).encode())
        text = b"".join(iter(lambda: sent.recv(65536), b"")).decode()
    status, body = int(text.split()[1]), text.partition("\r\n\r\n")[2]
    if status == 200 and body == ANSWER:
        return ALLOW
    if status == 403:
        return DENY if body.startswith("RBAC") else FORBIDDEN_TOKEN
    return UNAUTHENTICATED if status == 401 else f"{status} {body}"


def later(wire: Wire, seconds: float) -> Wire:
    """The request with its token's times moved: a busy machine may take minutes for all of them."""
    claims = dict(wire.claims or {})
    moved = {
        name: claims[name] + int(seconds) for name in ("nbf", "exp") if isinstance(claims.get(name), int)
    }
    return wire if wire.claims is None else replace(wire, claims={**claims, **moved})


@contextmanager
def running(binary: Path, listeners: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[None]:
    """An Envoy with these listeners; it is ended afterwards."""
    config = folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": list(listeners)}}))
    argv = [
        str(binary),
        "-c",
        str(config),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    ]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    last = listeners[-1]["address"]["socket_address"]
    try:

        def up() -> bool:
            assert process.poll() is None, (folder / "envoy.log").read_text()[-3000:]
            with socket.socket() as probe:
                return probe.connect_ex((last["address"], last["port_value"])) == 0

        wait("Envoy's listeners", up, ready=bool, timeout=60)
        yield
    finally:
        process.terminate()
        process.wait(20)
