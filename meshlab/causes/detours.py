"""Ways through a gateway to a host: whether a VirtualService leads the mesh's own pods along it, or past it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshlab.causes.effects import service_of
from meshlab.causes.objects import Found


@dataclass(frozen=True)
class Detour:
    """What a VirtualService makes of the way to its hosts.

    Attributes:
        gateways: Those from which it leads on to the very hosts that the mesh's own pods ask for; empty for none.
        past: Hosts to which it leads those pods directly all the same.
    """

    gateways: frozenset[str]
    past: frozenset[str]


def detour_of(found: Found, hosts: frozenset[str]) -> Detour:
    """Find the gateways on the way, as the routes' matches name them.

    Args:
        found: The VirtualService.
        hosts: Its hosts, short.

    Returns:
        The way.
    """
    routes = found.spec.get("http") or ()
    gateways = frozenset(
        name
        for route in routes
        if "mesh" not in _gateways(route) and _destinations(route) <= hosts
        for name in _gateways(route)
    )
    inside = [route for route in routes if "mesh" in _gateways(route)]
    past = frozenset(host for route in inside for host in _destinations(route) & hosts)
    return Detour(gateways, past if gateways else frozenset())


def _gateways(route: Mapping[str, Any]) -> frozenset[str]:
    """The gateways that a route is for; empty where it is for all of the VirtualService's."""
    return frozenset(str(name) for match in route.get("match") or () for name in match.get("gateways") or ())


def _destinations(route: Mapping[str, Any]) -> frozenset[str]:
    targets = (each.get("destination") or {} for each in route.get("route") or ())
    return frozenset(service_of(str(each.get("host", ""))) for each in targets)
