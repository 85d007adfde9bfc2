"""What Gateways and ServiceEntries do to traffic: what comes in, what may go out, and what takes a service's place."""

from __future__ import annotations

from meshlab.causes.effects import Does, Told, World, name_of, service_of
from meshlab.causes.objects import Found


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
    yield Does.EDGE, whose, f"serves {', '.join(sorted(hosts))}"


def _hosts(found: Found) -> frozenset[str]:
    return frozenset(
        str(host).rpartition("/")[2]
        for server in found.spec.get("servers") or ()
        for host in server.get("hosts") or ()
    )


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
        yield Does.OPENS, frozenset(map(service_of, hosts)), f"declares {', '.join(hosts)}"
