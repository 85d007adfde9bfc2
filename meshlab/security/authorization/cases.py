"""The requests of the truth table: client × service × method × path, with and without tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshlab.app.bookinfo import PORT
from meshlab.security.authorization.model import Identity

NO_TOKEN = ""
ALL_TOKENS = (NO_TOKEN, "editor", "reader", "expired", "forged")


@dataclass(frozen=True)
class Client:
    """Who asks. identity: None for one outside the mesh. selector: labels of the pod that sends.

    ip: what the called proxy sees as the connection's source. through: host of a gateway that stands in
    between (then identity and ip are the gateway's), empty where there is none.
    """

    name: str
    selector: str
    identity: Identity | None
    ip: str | None = None
    through: str = ""


@dataclass(frozen=True)
class Service:
    """Who is asked, and with what. lines: methods and paths, multiplied. routed: paths that the gateway serves."""

    name: str
    methods: Sequence[str]
    paths: Sequence[str]
    tokens: Sequence[str] = (NO_TOKEN, "editor")
    routed: Sequence[str] = ()
    port: int = PORT


@dataclass(frozen=True, order=True)
class Case:
    """One cell. token: its name, empty for none."""

    client: str
    service: str
    method: str
    path: str
    token: str = NO_TOKEN

    def __str__(self) -> str:
        bearing = f" with token {self.token}" if self.token else ""
        return f"{self.client} → {self.service} {self.method} {self.path}{bearing}"


METHODS = ("GET", "POST")
SERVICES = (
    Service(
        "productpage",
        METHODS,
        ("/productpage", "/health", "/login"),
        routed=("/productpage", "/login"),
    ),
    Service("details", METHODS, ("/details/0", "/health", "/details/0/abstract", "/details/0/a/abstract")),
    Service(
        "reviews",
        METHODS,
        ("/reviews/0", "/reviews/admin/users", "/reviews/admin/help", "/reviews/0/../admin/users"),
    ),
    Service("ratings", (*METHODS, "DELETE"), ("/ratings/0", "/health"), ALL_TOKENS),
)


def cases(clients: Iterable[Client], services: Iterable[Service] = SERVICES) -> tuple[Case, ...]:
    """List every cell. Through a gateway only what it routes.

    Args:
        clients: Who asks.
        services: Who is asked, and with what.

    Returns:
        The cells, by client.
    """
    offered = tuple(services)
    return tuple(
        Case(client.name, service.name, method, path, token)
        for client in clients
        for service in offered
        for path in (service.routed if client.through else service.paths)
        for method in service.methods
        for token in service.tokens
    )
