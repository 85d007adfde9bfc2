"""What workloads, Services, Telemetries and EnvoyFilters do to traffic, or to what is seen of it."""

from __future__ import annotations

from collections.abc import Mapping

from meshlab.causes.effects import Does, Told, World, labels_of, name_of, shortly
from meshlab.causes.objects import Found


def of_envoy_filter(found: Found, world: World) -> Told:
    """Tell what an EnvoyFilter does."""
    patches = found.spec.get("configPatches") or ()
    places = ", ".join(sorted({str(each.get("applyTo")) for each in patches}))
    yield (
        Does.FILTERS,
        world.selected(found, labels_of(found)),
        f"patches {places} of the proxies' configuration",
    )


def of_telemetry(found: Found, world: World) -> Told:
    """Tell what a Telemetry does."""
    whose = world.selected(found, labels_of(found))
    for each in found.spec.get("tracing") or ():
        share = each.get("randomSamplingPercentage")
        if each.get("disableSpanReporting") or (share is not None and share < 100):
            yield Does.NO_TRACES, whose, f"tracing: {shortly(each)}"
    for each in found.spec.get("metrics") or ():
        if each.get("overrides"):
            yield Does.METRICS, whose, f"metrics.overrides: {shortly(each['overrides'])}"


def of_service(found: Found, world: World) -> Told:
    """Tell what a Service does."""
    whose, selector = frozenset({found.name}), found.spec.get("selector") or {}
    if selector and not world.pods(found.namespace, selector):
        yield Does.NO_PODS, whose, f"its selector {shortly(selector)} finds no pod"
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


def of_deployment(found: Found, world: World) -> Told:
    """Tell what a Deployment does."""
    template = found.spec.get("template") or {}
    meta = template.get("metadata") or {}
    marks = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    whose = frozenset({name_of(meta.get("labels") or {}) or found.name, found.name})
    if found.spec.get("replicas") == 0:
        yield Does.NO_PODS, whose, "replicas is 0"
    yield from _marks(marks, whose)


def of_pod(found: Found, world: World) -> Told:
    """Tell what a Pod does."""
    yield from _marks({**found.labels, **found.annotations}, frozenset({name_of(found.labels) or found.name}))


def _marks(marks: Mapping[str, str], whose: frozenset[str]) -> Told:
    if marks.get("sidecar.istio.io/inject") == "false":
        yield Does.NO_SIDECAR, whose, "sidecar.istio.io/inject is false"
    if marks.get("prometheus.io/scrape") == "false":
        yield Does.METRICS, whose, "prometheus.io/scrape is false: Prometheus passes it over"
    if marks.get("sidecar.istio.io/statsInclusionPrefixes"):
        yield Does.METRICS, whose, "its proxy keeps only some statistics"
