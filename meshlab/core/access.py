"""How a server lets us in: credentials, its certificate authority, and the name in its certificate.

Credentials are never settings, which Prefect and result files show: `meshlab.observability.addons.credentials` reads
them, and they are held here for the process, by what they are for.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.request import getproxies

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from meshlab.core.registry import instance


@dataclass(frozen=True)
class Access:
    """How one server is asked.

    Attributes:
        kind: For the evidence: none, bearer, basic, client certificate, google; joined by a comma.
        auth: Puts the credentials into each request.
        tls: Holds the client's certificate, and whom to trust; the system's authorities where None.
        server_name: In the server's certificate, where its address is another, as behind a port-forward.
        direct: It is asked over the network, not through a port-forward: a proxy of the environment leads there.
    """

    kind: str = "none"
    auth: AuthBase | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    server_name: str = ""
    direct: bool = False

    def session(self) -> requests.Session:
        """Make a session for one thread."""
        session = requests.Session()
        session.trust_env = False  # else requests takes credentials of ~/.netrc, too
        if self.direct:
            session.proxies.update(_proxies())
        session.auth = self.auth
        self.mount(session, "https://")
        return session

    def mount(self, session: requests.Session, address: str) -> None:
        """Have a session use our certificates for addresses that begin so; nothing changes where we have none.

        Args:
            session: The session.
            address: The begin of addresses.
        """
        if self.tls is not None or self.server_name:
            session.mount(address, _Adapter(self.tls, self.server_name))


OPEN = Access()


class Keys:
    """The credentials that this process holds: what they are for → how it is asked."""

    def __init__(self) -> None:
        self.held: Mapping[str, Access] = {}


def hold_keys(held: Mapping[str, Access]) -> None:
    """Hold credentials for this process, in place of earlier ones.

    Args:
        held: What they are for (prometheus, tracing, grafana, kiali) → how it is asked.
    """
    instance(Keys).held = dict(held)


def access_of(name: str) -> Access:
    """Return how something is asked; without credentials where none are held.

    Args:
        name: What it is: prometheus, tracing, grafana or kiali.
    """
    return instance(Keys).held.get(name, OPEN)


def _proxies() -> dict[str, str]:
    found = getproxies()
    return {each: found[each] for each in ("http", "https") if each in found} | (
        {"no_proxy": found["no"]} if "no" in found else {}
    )


class _Adapter(HTTPAdapter):
    """Connects with a TLS context of ours, and expects a name that may not be the address's."""

    def __init__(self, tls: ssl.SSLContext | None, server_name: str) -> None:
        self._tls, self._name = tls or ssl.create_default_context(), server_name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._name:
            kwargs |= {"server_hostname": self._name, "assert_hostname": self._name}
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
