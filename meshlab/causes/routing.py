"""What routes, destinations and Sidecars do to traffic: where it goes, what it meets on the way, what it can see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab.causes.detours import detour_of
from meshlab.causes.effects import Does, Told, World, labels_of, service_of, shortly
from meshlab.causes.objects import Found

LONG = 0.05  # seconds of a delay, and from which on it explains a slow answer
SHORT = 0.1  # seconds that a page may need: a shorter timeout explains an error
FEW = 4  # connections or requests in parallel that a pool allows: fewer than any page needs at once
# Errors in a row after which Istio ejects a pod where no number is given. Of the 5 to 20 pages that a check asks for, so many
# are an outage already, which something else has caused; fewer come of one hiccup, and the ejection makes an outage of it.
ERRORS = 5
EJECT_AFTER = (
    "consecutive5xxErrors",
    "consecutiveGatewayErrors",
    "consecutiveErrors",
    "consecutiveLocalOriginFailures",
)
ATTEMPTS = 2  # Istio asks so often again where nothing is said


def of_virtual_service(found: Found, world: World) -> Told:
    """Tell what a VirtualService does."""
    hosts = frozenset(service_of(host) for host in found.spec.get("hosts") or ())
    if "mesh" not in (found.spec.get("gateways") or ["mesh"]):
        yield Does.EDGE, hosts, f"routes what comes in through {', '.join(found.spec['gateways'])}"
        return  # of the traffic between the mesh's own pods it changes nothing
    if rivals := sorted(each.name for each in _rivals(found, hosts, world)):
        yield (
            Does.CONFLICTS,
            hosts,
            f"{', '.join(rivals)} is for {', '.join(sorted(hosts))}, too: the older one counts",
        )
    http = found.spec.get("http") or ()
    if http and not any(map(_takes_all, http)):
        yield Does.NO_ROUTE, hosts, "requests that match none of its routes are answered 404"
    detour = detour_of(found, hosts)
    if detour.past:
        past, gateways = (", ".join(sorted(names)) for names in (detour.past, detour.gateways))
        yield Does.AROUND, hosts, f"requests to {past} do not go through {gateways}"
    for route in (
        *(found.spec.get("http") or ()),
        *(found.spec.get("tls") or ()),
        *(found.spec.get("tcp") or ()),
    ):
        fault = route.get("fault") or {}
        if abort := fault.get("abort"):
            share = (abort.get("percentage") or {}).get("value", 100)
            yield (
                Does.ABORTS,
                hosts,
                f"fault.abort answers {share:g} % of requests with {abort.get('httpStatus') or abort.get('grpcStatus')}",
            )
        if (delay := fault.get("delay")) and seconds(delay.get("fixedDelay", "0s")) >= LONG:
            share = (delay.get("percentage") or {}).get("value", 100)
            yield Does.DELAYS, hosts, f"fault.delay holds {share:g} % of requests for {delay['fixedDelay']}"
        if route.get("directResponse") or route.get("redirect"):
            yield Does.ABORTS, hosts, "a redirect or direct response answers in the service's place"
        if 0 < seconds(route.get("timeout", "0s")) < SHORT:
            yield Does.GIVES_UP, hosts, f"timeout {route['timeout']}"
        if route.get("mirror") or route.get("mirrors"):
            yield Does.REPEATS, hosts, "mirrored requests are counted beside the real ones"
        retries = route.get("retries") or {}
        attempts = retries.get("attempts", 0)
        if attempts > ATTEMPTS or (attempts and retries.get("retryOn")):
            yield Does.RETRIES, hosts, f"{attempts} retries hide or repeat requests"
        for target in route.get("route") or ():
            destination, through = target.get("destination") or {}, bool(detour.gateways)
            yield from _destination(destination, hosts, found, world, through=through)


def _rivals(found: Found, hosts: frozenset[str], world: World) -> list[Found]:
    """Other VirtualServices of the mesh for one of its hosts: sidecars take the older one, and merge nothing."""
    return [
        each
        for each in world.objects
        if each.kind == "VirtualService"
        and each is not found
        and each.namespace == found.namespace
        and "mesh" in (each.spec.get("gateways") or ["mesh"])
        and hosts & frozenset(service_of(host) for host in each.spec.get("hosts") or ())
    ]


def _takes_all(route: Mapping[str, Any]) -> bool:
    """Whether a route takes any request: one of its matches asks for no more than a path that begins with /."""
    matches = route.get("match") or [{}]
    return any(
        all(key == "uri" and part == {"prefix": "/"} for key, part in each.items()) for each in matches
    )


def _destination(
    destination: Mapping[str, Any], hosts: frozenset[str], found: Found, world: World, *, through: bool
) -> Told:
    """A destination that is not there, or is another service than was called. through: it leads there by a gateway."""
    host, subset = service_of(str(destination.get("host", ""))), destination.get("subset")
    if subset and not _pods_of_subset(world, host, subset, found.namespace):
        yield Does.REROUTES, hosts | {host}, f"routes to subset {subset} of {host}, in which there is no pod"
    if host and host not in hosts and not through:
        yield Does.REROUTES, hosts | {host}, f"requests to {', '.join(sorted(hosts))} go to {host}"


def _pods_of_subset(world: World, host: str, subset: str, namespace: str) -> list[Found]:
    """The pods of a Service that a DestinationRule's subset selects."""
    services = [
        s for s in world.objects if s.kind == "Service" and s.name == host and s.namespace == namespace
    ]
    for rule in world.objects:
        if rule.kind != "DestinationRule" or service_of(str(rule.spec.get("host", ""))) != host:
            continue
        for each in rule.spec.get("subsets") or ():
            if each.get("name") == subset:
                selector = {
                    **(services[0].spec.get("selector") or {} if services else {}),
                    **(each.get("labels") or {}),
                }
                return world.pods(namespace, selector)
    return []


def of_destination_rule(found: Found, world: World) -> Told:
    """Tell what a DestinationRule does."""
    host = frozenset({service_of(str(found.spec.get("host", "")))} - {"*"})
    policies = [found.spec.get("trafficPolicy") or {}]
    policies += [each.get("trafficPolicy") or {} for each in found.spec.get("subsets") or ()]
    policies += list(policies[0].get("portLevelSettings") or ())
    for policy in policies:
        mode = (policy.get("tls") or {}).get("mode")
        if mode and mode != "ISTIO_MUTUAL":
            yield Does.NO_MTLS, host, f"tls.mode {mode}: callers do not speak the mesh's mutual TLS"
        outlier = policy.get("outlierDetection") or {}
        if any(0 < outlier.get(name, 0) < ERRORS for name in EJECT_AFTER):
            yield Does.LIMITS, host, f"outlierDetection ejects pods ({shortly(outlier)})"
        pool = policy.get("connectionPool") or {}
        limits = {**(pool.get("tcp") or {}), **(pool.get("http") or {})}
        for name in ("maxConnections", "http1MaxPendingRequests", "http2MaxRequests"):
            if 0 < limits.get(name, 0) <= FEW:
                yield Does.LIMITS, host, f"connectionPool: {name} {limits[name]}"


def of_sidecar(found: Found, world: World) -> Told:
    """Tell what a Sidecar does."""
    whose = world.selected(found, labels_of(found))
    if (found.spec.get("outboundTrafficPolicy") or {}).get("mode") == "ALLOW_ANY":
        yield Does.OPENS, whose, "outboundTrafficPolicy ALLOW_ANY lets undeclared hosts pass"
    hosts = [str(host) for each in found.spec.get("egress") or () for host in each.get("hosts") or ()]
    if hosts and "*/*" not in hosts:
        hidden = sorted(
            service.name
            for service in world.objects
            if service.kind == "Service"
            and found.namespace in (service.namespace, world.root)
            and not any(_shows(host, service, found.namespace) for host in hosts)
        )
        if hidden:
            yield Does.HIDES, frozenset(hidden), f"egress.hosts {', '.join(hosts)} hides {', '.join(hidden)}"


def _shows(host: str, service: Found, namespace: str) -> bool:
    where, _, name = host.rpartition("/")
    return where in ("*", service.namespace, "." if service.namespace == namespace else "*") and (
        name == "*" or service_of(name) in (service.name, "*")
    )


def seconds(text: str) -> float:
    """Read a duration as Istio writes it: 0.5s, 500ms, 1m. 0 where it is none."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return float(number) * factor
    return 0.0
