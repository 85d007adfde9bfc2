"""The gateway's keys and certificates: made for one run, in memory, valid for an hour.

They reach the cluster in Secrets of ours, and a file only while OpenSSL reads a client's key from it.
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from meshlab.clusters.local.certificates import Authority, KeyPair

LIFETIME = timedelta(hours=1)
EXPIRED = timedelta(minutes=-5)  # as a lifetime: it ended so long ago
CLIENTS = "meshlab edge clients"


@dataclass(frozen=True)
class GatewayKeys:
    """What the gateway shows and accepts.

    authority: certificate (PEM) that signed the gateway's; clients_authority: the one whose clients it
    accepts. servers: host → its key pair. client: accepted. stranger: signed by another authority of the same
    name. None of the keys is in its repr.
    """

    authority: bytes
    clients_authority: bytes
    servers: dict[str, KeyPair] = field(repr=False)
    client: KeyPair = field(repr=False)
    stranger: KeyPair = field(repr=False)


def make_keys(*hosts: str, lifetime: timedelta = LIFETIME) -> GatewayKeys:
    """Make new authorities and key pairs for a gateway that serves some hosts.

    Args:
        *hosts: Their names.
        lifetime: Of the gateway's certificates; EXPIRED makes some that nobody may trust any more.

    Returns:
        The keys.
    """
    servers = Authority("meshlab edge servers", lifetime=LIFETIME)
    clients, others = (Authority(CLIENTS, lifetime=LIFETIME) for _ in range(2))
    return GatewayKeys(
        authority=servers.certificate,
        clients_authority=clients.certificate,
        servers={host: servers.issue(host, dns=[host], lifetime=lifetime) for host in hosts},
        client=clients.issue("meshlab client", lifetime=LIFETIME),
        stranger=others.issue("meshlab client", lifetime=LIFETIME),
    )


def load(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Give a TLS context a certificate of its own.

    OpenSSL reads it from a file: mode 0600, removed on return.

    Args:
        context: The context.
        pair: Certificate and key.
    """
    with tempfile.TemporaryDirectory(prefix="meshlab-") as folder:  # made with mode 0700
        pair.write(Path(folder), "own")
        context.load_cert_chain(Path(folder) / "own.crt", Path(folder) / "own.key")
