"""What an object does to the traffic of the mesh: whose, and in which way. What does nothing to it explains nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshlab.causes.objects import Found

NAMES = ("app", "app.kubernetes.io/name", "k8s-app", "istio")  # labels that tell what a workload is called
LONG = 0.05  # seconds of a delay, and from which on it explains a slow answer
FEW = 4  # connections or requests in parallel that a pool allows: fewer than any page needs at once


class Does(StrEnum):
    """What an object does to traffic."""

    PLAINTEXT = "takes plaintext"
    NO_MTLS = "switches mutual TLS off"
    REFUSES = "refuses requests"
    ALLOWS = "allows requests"
    ABORTS = "answers in the service's place"
    DELAYS = "delays requests"
    REROUTES = "sends requests elsewhere"
    LIMITS = "limits connections or ejects pods"
    HIDES = "hides services"
    OPENS = "opens the way out"
    CUTS = "cuts connections"
    METRICS = "changes or drops metrics"
    NO_TRACES = "keeps requests from being traced"
    FILTERS = "changes the proxies' configuration"
    NO_SIDECAR = "keeps the sidecar away"
    NO_PODS = "leaves no pod"
    PROTOCOL = "is taken for another protocol"
    EDGE = "opens or guards the mesh's edge"


@dataclass(frozen=True)
class Effect:
    """What one object does.

    Attributes:
        source: The object.
        does: In which way.
        whose: Names of the workloads or services concerned; empty means all of its namespace, or of the mesh.
        why: What in the object does it, in a sentence.
    """

    source: Found
    does: Does
    whose: frozenset[str]
    why: str


@dataclass(frozen=True)
class World:
    """What effects are judged by. objects: all that was read; root: the mesh's root namespace."""

    objects: Sequence[Found]
    root: str

    def pods(self, namespace: str, selector: Mapping[str, str]) -> list[Found]:
        """Return the pods that a selector finds; in the root namespace those of the whole mesh.

        Args:
            namespace: Of the object that selects.
            selector: Labels; empty selects all.

        Returns:
            The pods.
        """
        return [
            each
            for each in self.objects
            if each.kind == "Pod"
            and namespace in (each.namespace, self.root)
            and selector.items() <= each.labels.items()
        ]

    def selected(self, found: Found, selector: Mapping[str, str]) -> frozenset[str]:
        """Return the names of the workloads that an object selects; empty where it selects all.

        Args:
            found: The object.
            selector: Its labels.

        Returns:
            The names.
        """
        if not selector:
            return frozenset()
        return frozenset(name_of(pod.labels) for pod in self.pods(found.namespace, selector)) or frozenset(
            selector.values()
        )


def effects(world: World) -> list[Effect]:
    """Find what every object does to traffic."""
    return [
        Effect(found, does, whose, why)
        for found in world.objects
        for does, whose, why in _READERS.get(found.kind, _nothing)(found, world)
    ]


def name_of(labels: Mapping[str, str]) -> str:
    """Return what a workload is called by its labels, "" where none tells."""
    return next((labels[key] for key in NAMES if key in labels), "")


def service_of(host: str) -> str:
    """Return the Service's name in a host, short or whole."""
    return host.partition(".")[0]


Told = Iterator[tuple[Does, frozenset[str], str]]


def _nothing(found: Found, world: World) -> Told:
    yield from ()


def _labels(found: Found) -> Mapping[str, str]:
    selector = found.spec.get("selector") or found.spec.get("workloadSelector") or {}
    return selector.get("matchLabels") or selector.get("labels") or {}


def _peer_authentication(found: Found, world: World) -> Told:
    whose = world.selected(found, _labels(found))
    modes = {"": (found.spec.get("mtls") or {}).get("mode")}
    modes |= {
        f" on port {port}": (each or {}).get("mode")
        for port, each in (found.spec.get("portLevelMtls") or {}).items()
    }
    for where, mode in modes.items():
        if mode in ("PERMISSIVE", "DISABLE"):
            yield Does.PLAINTEXT, whose, f"mode {mode}{where} takes plaintext"
        if mode == "DISABLE":
            yield Does.NO_MTLS, whose, f"mode DISABLE{where}: the server offers no mutual TLS"


def _authorization_policy(found: Found, world: World) -> Told:
    if str(found.annotations.get("istio.io/dry-run", "")).lower() == "true":
        return
    whose, rules = world.selected(found, _labels(found)), found.spec.get("rules") or []
    action = found.spec.get("action", "ALLOW")
    if action == "DENY" and rules:
        yield Does.REFUSES, whose, "action DENY refuses what its rules name"
    elif action == "CUSTOM":
        yield Does.REFUSES, whose, "action CUSTOM asks an authorizer of its own"
    elif action == "ALLOW" and any(not rule for rule in rules):
        yield Does.ALLOWS, whose, "a rule without conditions allows everything to everybody"
    elif action == "ALLOW":
        named = f"{len(rules)} rules" if rules else "no rule"
        yield Does.REFUSES, whose, f"action ALLOW with {named} refuses all that they do not name"
        if rules:
            yield Does.ALLOWS, whose, "action ALLOW lets pass what its rules name"


def _request_authentication(found: Found, world: World) -> Told:
    issuers = ", ".join(str(rule.get("issuer")) for rule in found.spec.get("jwtRules") or ())
    yield (
        Does.REFUSES,
        world.selected(found, _labels(found)),
        f"tokens that {issuers or 'nobody'} did not issue are refused",
    )


def _virtual_service(found: Found, world: World) -> Told:
    hosts = frozenset(service_of(host) for host in found.spec.get("hosts") or ())
    if "mesh" not in (found.spec.get("gateways") or ["mesh"]):
        yield Does.EDGE, hosts, f"routes what comes in through {', '.join(found.spec['gateways'])}"
        return  # of the traffic between the mesh's own pods it changes nothing
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
        if route.get("mirror") or route.get("mirrors"):
            yield Does.METRICS, hosts, "mirrored requests are counted beside the real ones"
        retries = route.get("retries") or {}
        if retries.get("attempts", 0) > 0:
            yield Does.METRICS, hosts, f"{retries['attempts']} retries hide or repeat requests"
        for target in route.get("route") or ():
            yield from _destination(target.get("destination") or {}, hosts, found, world)


def _destination(destination: Mapping[str, Any], hosts: frozenset[str], found: Found, world: World) -> Told:
    """A destination that is not there, or is another service than the one that was called."""
    host, subset = service_of(str(destination.get("host", ""))), destination.get("subset")
    if subset and not _pods_of_subset(world, host, subset, found.namespace):
        yield Does.REROUTES, hosts | {host}, f"routes to subset {subset} of {host}, in which there is no pod"
    if host and host not in hosts:
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


def _destination_rule(found: Found, world: World) -> Told:
    host = frozenset({service_of(str(found.spec.get("host", "")))} - {"*"})
    policies = [found.spec.get("trafficPolicy") or {}]
    policies += [each.get("trafficPolicy") or {} for each in found.spec.get("subsets") or ()]
    policies += list(policies[0].get("portLevelSettings") or ())
    for policy in policies:
        mode = (policy.get("tls") or {}).get("mode")
        if mode and mode != "ISTIO_MUTUAL":
            yield Does.NO_MTLS, host, f"tls.mode {mode}: callers do not speak the mesh's mutual TLS"
        if outlier := policy.get("outlierDetection"):
            yield Does.LIMITS, host, f"outlierDetection ejects pods ({_short(outlier)})"
        pool = policy.get("connectionPool") or {}
        limits = {**(pool.get("tcp") or {}), **(pool.get("http") or {})}
        for name in (
            "maxConnections",
            "http1MaxPendingRequests",
            "http2MaxRequests",
            "maxRequestsPerConnection",
        ):
            if 0 < limits.get(name, 0) <= FEW:
                yield Does.LIMITS, host, f"connectionPool: {name} {limits[name]}"


def _sidecar(found: Found, world: World) -> Told:
    whose = world.selected(found, _labels(found))
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


def _envoy_filter(found: Found, world: World) -> Told:
    patches = found.spec.get("configPatches") or ()
    places = ", ".join(sorted({str(each.get("applyTo")) for each in patches}))
    yield (
        Does.FILTERS,
        world.selected(found, _labels(found)),
        f"patches {places} of the proxies' configuration",
    )


def _telemetry(found: Found, world: World) -> Told:
    whose = world.selected(found, _labels(found))
    for each in found.spec.get("tracing") or ():
        share = each.get("randomSamplingPercentage")
        if each.get("disableSpanReporting") or (share is not None and share < 100):
            yield Does.NO_TRACES, whose, f"tracing: {_short(each)}"
    for each in found.spec.get("metrics") or ():
        if each.get("overrides"):
            yield Does.METRICS, whose, f"metrics.overrides: {_short(each['overrides'])}"


def _gateway(found: Found, world: World) -> Told:
    hosts = [str(host) for server in found.spec.get("servers") or () for host in server.get("hosts") or ()]
    yield Does.EDGE, frozenset(found.spec.get("selector", {}).values()), f"serves {', '.join(hosts)}"


def _network_policy(found: Found, world: World) -> Told:
    selector = (found.spec.get("podSelector") or {}).get("matchLabels") or {}
    types = found.spec.get("policyTypes") or ["Ingress"]
    yield Does.CUTS, world.selected(found, selector), f"only what it names may pass ({', '.join(types)})"


def _service(found: Found, world: World) -> Told:
    whose, selector = frozenset({found.name}), found.spec.get("selector") or {}
    if selector and not world.pods(found.namespace, selector):
        yield Does.NO_PODS, whose, f"its selector {_short(selector)} finds no pod"
    if found.spec.get("clusterIP") == "None":
        yield Does.PROTOCOL, whose, "it is headless: callers go to pods, not to the service"
    for port in found.spec.get("ports") or ():
        said = str(port.get("appProtocol") or port.get("name", "")).partition("-")[0]
        if said in ("tcp", "mongo", "mysql", "redis", "udp", "tls"):
            yield (
                Does.PROTOCOL,
                whose,
                f"port {port.get('port')} is named {port.get('name') or said}: it is no HTTP to the mesh",
            )


def _service_entry(found: Found, world: World) -> Told:
    hosts = [str(host) for host in found.spec.get("hosts") or ()]
    shadowed = frozenset(
        service.name
        for service in world.objects
        if service.kind == "Service"
        and any(
            host == service.name or host.startswith(f"{service.name}.{service.namespace}.") for host in hosts
        )
    )
    if shadowed:
        yield Does.REROUTES, shadowed, f"takes the place of {', '.join(sorted(shadowed))} in the mesh"
    else:
        yield Does.OPENS, frozenset(map(service_of, hosts)), f"declares {', '.join(hosts)}"


def _deployment(found: Found, world: World) -> Told:
    template = found.spec.get("template") or {}
    meta = template.get("metadata") or {}
    marks = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    whose = frozenset({name_of(meta.get("labels") or {}) or found.name, found.name})
    if found.spec.get("replicas") == 0:
        yield Does.NO_PODS, whose, "replicas is 0"
    yield from _marks(marks, whose)


def _pod(found: Found, world: World) -> Told:
    yield from _marks({**found.labels, **found.annotations}, frozenset({name_of(found.labels) or found.name}))


def _marks(marks: Mapping[str, str], whose: frozenset[str]) -> Told:
    if marks.get("sidecar.istio.io/inject") == "false":
        yield Does.NO_SIDECAR, whose, "sidecar.istio.io/inject is false"
    if marks.get("prometheus.io/scrape") == "false":
        yield Does.METRICS, whose, "prometheus.io/scrape is false: Prometheus passes it over"
    if marks.get("sidecar.istio.io/statsInclusionPrefixes"):
        yield Does.METRICS, whose, "its proxy keeps only some statistics"


def seconds(text: str) -> float:
    """Read a duration as Istio writes it: 0.5s, 500ms, 1m. 0 where it is none."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return float(number) * factor
    return 0.0


def _short(value: Any) -> str:
    return str(value).translate(str.maketrans("", "", "{}[]'"))[:120]


_READERS: Mapping[str, Callable[[Found, World], Iterable[tuple[Does, frozenset[str], str]]]] = {
    "PeerAuthentication": _peer_authentication,
    "AuthorizationPolicy": _authorization_policy,
    "RequestAuthentication": _request_authentication,
    "VirtualService": _virtual_service,
    "DestinationRule": _destination_rule,
    "Sidecar": _sidecar,
    "EnvoyFilter": _envoy_filter,
    "Telemetry": _telemetry,
    "Gateway": _gateway,
    "NetworkPolicy": _network_policy,
    "Service": _service,
    "ServiceEntry": _service_entry,
    "Deployment": _deployment,
    "Pod": _pod,
}
