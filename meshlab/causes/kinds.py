"""Which function tells what an object of a kind does to traffic. A new kind is a line here, and in `objects.KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshlab.causes import cluster, edges, policies, routing, workloads
from meshlab.causes.effects import Effect, Told, World
from meshlab.causes.objects import GATEWAY_API, Found

READERS: Mapping[str, Callable[[Found, World], Told]] = {
    "PeerAuthentication": policies.of_peer_authentication,
    "AuthorizationPolicy": policies.of_authorization_policy,
    "RequestAuthentication": policies.of_request_authentication,
    "NetworkPolicy": policies.of_network_policy,
    "VirtualService": routing.of_virtual_service,
    "DestinationRule": routing.of_destination_rule,
    "Sidecar": routing.of_sidecar,
    "Gateway": edges.of_gateway,
    GATEWAY_API: edges.of_gateway_api,
    "ServiceEntry": edges.of_service_entry,
    "EnvoyFilter": workloads.of_envoy_filter,
    "Telemetry": workloads.of_telemetry,
    "Service": workloads.of_service,
    "Deployment": workloads.of_deployment,
    "Pod": workloads.of_pod,
    "ConfigMap": cluster.of_config_map,
    "MutatingWebhookConfiguration": cluster.of_webhooks,
}


def effects(world: World) -> list[Effect]:
    """Find what every object does to traffic."""
    return [
        Effect(found, does, whose, why)
        for found in world.objects
        for does, whose, why in READERS[found.kind](found, world)
    ]
