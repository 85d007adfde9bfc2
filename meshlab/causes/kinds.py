"""Which function tells what an object of a kind does to traffic. A new kind is a line here, and in `objects.KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshlab.causes import policies, routing, workloads
from meshlab.causes.effects import Effect, Told, World
from meshlab.causes.objects import Found

READERS: Mapping[str, Callable[[Found, World], Told]] = {
    "PeerAuthentication": policies.peer_authentication,
    "AuthorizationPolicy": policies.authorization_policy,
    "RequestAuthentication": policies.request_authentication,
    "NetworkPolicy": policies.network_policy,
    "VirtualService": routing.virtual_service,
    "DestinationRule": routing.destination_rule,
    "Sidecar": routing.sidecar,
    "Gateway": routing.gateway,
    "ServiceEntry": routing.service_entry,
    "EnvoyFilter": workloads.envoy_filter,
    "Telemetry": workloads.telemetry,
    "Service": workloads.service,
    "Deployment": workloads.deployment,
    "Pod": workloads.pod,
}


def effects(world: World) -> list[Effect]:
    """Find what every object does to traffic."""
    return [
        Effect(found, does, whose, why)
        for found in world.objects
        for does, whose, why in READERS[found.kind](found, world)
    ]
