"""An ingress gateway on loopback: real TLS, three hosts, tokens judged by PyJWT. What it leaves out is its fault."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from dataclasses import dataclass
from types import TracebackType

import jwt

from meshlab.core.errors import MeshlabError
from meshlab.core.jwt import ALGORITHM
from meshlab.security.gateways.client import speaking
from meshlab.security.gateways.ingress import HOSTS, MUTUAL, TOKEN
from meshlab.security.gateways.pki import GatewayKeys, load
from meshlab.security.gateways.tokens import AUDIENCE, Issuer

PAGE = b"<html><head><title>Simple Bookstore App</title></head></html>"


@dataclass
class Way:
    """Stands in for an open PortForward."""

    port: int
    last_error: MeshlabError | None = None


class FakeGateway:
    """Serves HTTP and HTTPS until it is left.

    any_name: answers for names that it does not know. old_tls: speaks TLS 1.1 too. anybody: asks no client for a
    certificate. expects: the issuer's name in tokens. redirects: plain HTTP.
    """

    def __init__(
        self,
        keys: GatewayKeys,
        issuer: Issuer,
        *,
        any_name: bool = False,
        old_tls: bool = False,
        anybody: bool = False,
        expects: str = "",
        redirects: bool = True,
    ) -> None:
        self._contexts = {host: self._context(keys, host, old_tls) for host in HOSTS}
        self._anybody, self._any_name, self._redirects = anybody, any_name, redirects
        self._keys = jwt.PyJWKSet.from_dict(json.loads(issuer.jwks))
        self._expects = expects or issuer.name
        self._front = self._context(keys, HOSTS[0], old_tls)
        if not anybody:
            # OpenSSL keeps the first context's rule for clients when the name chooses another one.
            self._front.verify_mode = ssl.CERT_OPTIONAL
        self._front.sni_callback = self._choose  # type: ignore[assignment]
        self._listeners = [self._listen(tls) for tls in (False, True)]
        self.http, self.https = (Way(each.getsockname()[1]) for each in self._listeners)

    def __enter__(self) -> FakeGateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _context(self, keys: GatewayKeys, host: str, old_tls: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Debian's Python leaves it to OpenSSL's configuration.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load(context, keys.servers[host])
        context.verify_mode = ssl.CERT_OPTIONAL if host == MUTUAL else ssl.CERT_NONE
        context.load_verify_locations(cadata=keys.clients_authority.decode())
        if old_tls:
            speaking(context, ssl.TLSVersion.TLSv1_1).maximum_version = ssl.TLSVersion.TLSv1_3
        return context

    def _choose(self, connection: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        if name in self._contexts:
            connection.context = self._contexts[str(name)]
            return None
        return None if self._any_name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    def _listen(self, tls: bool) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                self._serve(connection, tls)

        threading.Thread(target=accept, daemon=True).start()
        return listener

    def _serve(self, plain: socket.socket, tls: bool) -> None:
        try:
            plain.settimeout(5)
            with self._front.wrap_socket(plain, server_side=True) if tls else plain as connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(4096)
                    if not part:
                        return
                    head += part
                if f"host: {MUTUAL}" in head.decode().lower() and not self._knows(connection):
                    return
                connection.sendall(self._answer(head.decode(), tls))
        except OSError:
            plain.close()

    def _knows(self, connection: socket.socket) -> bool:
        known = isinstance(connection, ssl.SSLSocket) and bool(connection.getpeercert())
        return known or self._anybody

    def _answer(self, head: str, tls: bool) -> bytes:
        first, *lines = head.strip().split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
        host, path = headers["host"], first.split()[1]
        if not tls and self._redirects:
            return f"HTTP/1.1 301 M\r\nlocation: https://{host}{path}\r\ncontent-length: 0\r\n\r\n".encode()
        status = self._judge(headers.get("authorization", "")) if host == TOKEN else 200
        body = PAGE if status == 200 else b"no"
        return f"HTTP/1.1 {status} S\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body

    def _judge(self, authorization: str) -> int:
        if not authorization:
            return 403
        token = authorization.removeprefix("Bearer ")
        try:
            jwt.decode(
                token,
                self._keys.keys[0],
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._expects,
            )
        except jwt.InvalidAudienceError:
            return 403
        except jwt.InvalidTokenError:
            return 401
        return 200
