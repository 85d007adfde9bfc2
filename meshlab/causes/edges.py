"""What Gateways and ServiceEntries do to traffic: what comes in, what may go out, and what takes a service's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab.causes.effects import Does, Told, World, name_of, service_of
from meshlab.causes.objects import Found

MADE_FOR = (
    "gateway.networking.k8s.io/gateway-name"  # label of the pods that are made for a Gateway of Gateway API
)


def of_gateway(found: Found, world: World) -> Told:
    """Tell what a Gateway does."""
    hosts = _hosts(found)
    selector = found.spec.get("selector") or {}
    pods = [each for each in world.objects if each.kind == "Pod" and selector.items() <= each.labels.items()]
    workloads = frozenset(name_of(pod.labels) for pod in pods if selector)  # in whatever namespace they run
    whose = frozenset(selector.values()) | workloads | hosts
    rivals = [
        (each, shared)
        for each in world.objects
        if each.kind == "Gateway" and each is not found and (shared := (hosts & _hosts(each)) - {"*"})
    ]
    if rivals and not _has_route(found, world):
        other, shared = rivals[0]
        yield (
            Does.CONFLICTS,
            whose,
            f"serves {', '.join(sorted(shared))} as {other.name} does, and no VirtualService routes what it takes",
        )
    if any("*" in _names(server) for server in found.spec.get("servers") or () if server.get("tls")):
        yield Does.EVERY_NAME, whose, "a server with TLS takes every name"
    yield Does.EDGE, whose, f"serves {', '.join(sorted(hosts))}"


def of_gateway_api(found: Found, world: World) -> Told:
    """Tell what a Gateway of Gateway API does."""
    listeners = found.spec.get("listeners") or ()
    hosts = frozenset(str(each.get("hostname") or "*") for each in listeners)
    made = [each for each in world.objects if each.kind == "Pod" and each.labels.get(MADE_FOR) == found.name]
    whose = hosts | {found.name} | {name_of(pod.labels) for pod in made if pod.namespace == found.namespace}
    if any(not each.get("hostname") for each in listeners if each.get("tls")):
        yield Does.EVERY_NAME, whose, "a listener with TLS takes every name"
    yield Does.EDGE, whose, f"serves {', '.join(sorted(hosts))}"


def _names(server: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(host).rpartition("/")[2] for host in server.get("hosts") or ())


def _hosts(found: Found) -> frozenset[str]:
    return frozenset().union(*map(_names, found.spec.get("servers") or ()))


def _has_route(found: Found, world: World) -> bool:
    names = {f"{found.namespace}/{found.name}"}
    return any(
        names
        & {
            str(name) if "/" in str(name) else f"{each.namespace}/{name}"
            for name in each.spec.get("gateways") or ()
        }
        for each in world.objects
        if each.kind == "VirtualService"
    )


def of_service_entry(found: Found, world: World) -> Told:
    """Tell what a ServiceEntry does."""
    hosts = [str(host) for host in found.spec.get("hosts") or ()]
    addresses = {str(address) for address in found.spec.get("addresses") or ()}
    shadowed = frozenset(
        service.name
        for service in world.objects
        if service.kind == "Service"
        and (
            any(
                host == service.name or host.startswith(f"{service.name}.{service.namespace}.")
                for host in hosts
            )
            or service.spec.get("clusterIP") in addresses
        )
    )
    if shadowed:
        yield Does.REROUTES, shadowed, f"takes the place of {', '.join(sorted(shadowed))} in the mesh"
    else:
        yield Does.DECLARES, frozenset(map(service_of, hosts)), f"declares {', '.join(hosts)}"
