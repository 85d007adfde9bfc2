"""A caller of the gateway from outside the cluster: one request per connection, server name and trust explicit.

Nothing here asks twice: a refused connection is an answer.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshlab.clusters.local.certificates import Authority, KeyPair
from meshlab.security.gateways.pki import LIFETIME, load

TIMEOUT = 15.0  # seconds for each step of a request
OLD = ssl.TLSVersion.TLSv1_1  # the newest version that must be refused
CLOSED, TLS_ALERT = "connection closed", "TLS alert"  # how refusals by the other side begin
ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(\w+)")  # OpenSSL's reasons for alerts that it got


@dataclass(frozen=True)
class Reply:
    """What came of one request.

    status: HTTP status, None when there was no answer; refusal says why then. tls, cipher: of the connection,
    empty without TLS. certificate: the server's, as `ssl` tells a verified one. body: the whole text.
    """

    status: int | None = None
    refusal: str = ""
    tls: str = ""
    cipher: str = ""
    location: str = ""
    body: str = field(default="", repr=False)
    certificate: Mapping[str, Any] = field(default_factory=dict, repr=False)


def trusting(
    authority: bytes,
    *,
    client: KeyPair | None = None,
    only: ssl.TLSVersion | None = None,
    any_name: bool = False,
) -> ssl.SSLContext:
    """Make a TLS client that trusts one authority, and nothing that this machine trusts.

    Args:
        authority: Its certificate (PEM).
        client: The certificate that is shown when asked; None for none.
        only: The one TLS version that it speaks; None for the usual ones.
        any_name: Take a certificate of the authority for whatever host.

    Returns:
        The context.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode())
    context.check_hostname = not any_name
    if client is not None:
        load(context, client)
    return speaking(context, only) if only else context


def speaking(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Limit a context to one version. Old ones need OpenSSL's security level 0: their signatures use SHA-1."""
    if version <= OLD:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = version
    context.maximum_version = version
    return context


def ask(
    port: int,
    host: str,
    path: str,
    *,
    context: ssl.SSLContext | None = None,
    server_name: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one GET to a local port as if it were host. A refusal, by TLS or by a closed connection, is a Reply too.

    Args:
        port: Of 127.0.0.1.
        host: The name in the Host header, and the TLS server name.
        path: What is asked for.
        context: The TLS client; None for plain HTTP.
        server_name: The TLS server name (SNI) where it is not the host.
        headers: Sent with the request.

    Returns:
        What came of it.
    """
    step = "connection"
    tls: ssl.SSLSocket | None = None
    session: dict[str, Any] = {}
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as plain:
            connection = http.client.HTTPConnection(host, timeout=TIMEOUT)
            connection.sock = plain
            if context is not None:
                step = "handshake"
                connection.sock = tls = context.wrap_socket(plain, server_hostname=server_name or host)
                session = _session(tls)
            step = "request"
            connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            body = answer.read().decode(errors="replace")
            location = answer.getheader("Location", "")
            return Reply(answer.status, location=location, body=body, **session)
    except (OSError, http.client.HTTPException) as problem:
        return Reply(refusal=f"{_told(problem)} in the {step}", **session)
    finally:
        if tls is not None:
            tls.close()


def can_speak(version: ssl.TLSVersion) -> str:
    """Shake hands with a server of our own, in memory; the version that was agreed on, or why none was.

    The control for a version that a gateway refuses: many builds of OpenSSL don't offer it at all.
    """
    authority = Authority("meshlab self-test", lifetime=LIFETIME)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(server, authority.issue("self.test", dns=["self.test"], lifetime=LIFETIME))
    try:
        client = trusting(authority.certificate, only=version)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        here = client.wrap_bio(to_client, to_server, server_hostname="self.test")
        there = speaking(server, version).wrap_bio(to_server, to_client, server_side=True)
        for _ in range(4):  # flights
            if all([_step(here.do_handshake), _step(there.do_handshake)]):
                return here.version() or ""
    except (ssl.SSLError, ValueError) as problem:
        return _told(problem)
    return "no handshake"


def _step(handshake: Callable[[], None]) -> bool:
    try:
        handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _session(tls: ssl.SSLSocket) -> dict[str, Any]:
    """What the handshake agreed on; asked before the answer is read, which may close the connection."""
    cipher = tls.cipher()
    return {
        "tls": tls.version() or "",
        "cipher": cipher[0] if cipher else "",
        "certificate": tls.getpeercert() or {},
    }


def _told(problem: Exception) -> str:
    """The refusal in words that are the same each time: the alert's name, the verification's verdict."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"certificate not accepted ({problem.verify_message.rstrip('.')})"
    if isinstance(problem, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return CLOSED
    if isinstance(problem, http.client.RemoteDisconnected | ssl.SSLZeroReturnError):
        return CLOSED
    if isinstance(problem, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(problem, ssl.SSLError):
        alert = ALERT.match(problem.reason or "")
        return f"{TLS_ALERT} {_words(alert[1])}" if alert else _words(problem.reason or str(problem))
    return str(problem) or type(problem).__name__


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower()
