"""What workloads, Services, Telemetries and EnvoyFilters do to traffic, or to what is seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab.causes.cluster import LABELS, without_endpoint
from meshlab.causes.effects import Does, Told, World, labels_of, name_of, shortly
from meshlab.causes.objects import Found

RBAC = "envoy.filters.http.rbac"
ENFORCERS = {RBAC, "envoy.filters.network.rbac"}
COLLECTS = (4317, 4318, 9411, 14250, 14268)  # ports of services that take spans: OTLP, Zipkin, Jaeger
SIDECAR, INJECT = "istio-proxy", "sidecar.istio.io/inject"
WEBHOOKS = "MutatingWebhookConfiguration"


def of_envoy_filter(found: Found, world: World) -> Told:
    """Tell what an EnvoyFilter does."""
    whose, patches = world.selected(found, labels_of(found)), found.spec.get("configPatches") or ()
    if any(map(_ends_policies, patches)):
        yield Does.ALLOWS, whose, f"takes the filter {RBAC} away: no AuthorizationPolicy is enforced"
    places = ", ".join(sorted({str(each.get("applyTo")) for each in patches}))
    yield Does.FILTERS, whose, f"patches {places} of the proxies' configuration"


def _ends_policies(patch: Mapping[str, Any]) -> bool:
    chain = ((patch.get("match") or {}).get("listener") or {}).get("filterChain") or {}
    named = chain.get("filter") or {}
    names = {named.get("name"), (named.get("subFilter") or {}).get("name")}
    return (patch.get("patch") or {}).get("operation") == "REMOVE" and bool(names & ENFORCERS)


def of_telemetry(found: Found, world: World) -> Told:
    """Tell what a Telemetry does."""
    whose = world.selected(found, labels_of(found))
    for each in found.spec.get("tracing") or ():
        share = each.get("randomSamplingPercentage")
        if each.get("disableSpanReporting") or (share is not None and share < 100):
            yield Does.NO_TRACES, whose, f"tracing: {shortly(each)}"
    for each in found.spec.get("metrics") or ():
        for override in each.get("overrides") or ():
            tags = override.get("tagOverrides") or {}
            if override.get("disabled") or LABELS & tags.keys():
                yield Does.METRICS, whose, f"metrics.overrides: {shortly(override)}"


def _scaled_away(found: Found, selector: Mapping[str, str], world: World) -> bool:
    """Whether a Deployment without replicas is why a Service has no pod: then the Deployment explains it."""
    return any(
        each.kind == "Deployment"
        and each.namespace == found.namespace
        and each.spec.get("replicas") == 0
        and selector.items()
        <= (((each.spec.get("template") or {}).get("metadata") or {}).get("labels") or {}).items()
        for each in world.objects
    )


def of_service(found: Found, world: World) -> Told:
    """Tell what a Service does."""
    whose, selector = frozenset({found.name}), found.spec.get("selector") or {}
    if selector and not world.pods(found.namespace, selector) and not _scaled_away(found, selector, world):
        why = f"its selector {shortly(selector)} finds no pod"
        yield Does.NO_PODS, whose, why
        if any(port.get("port") in COLLECTS for port in found.spec.get("ports") or ()):
            yield Does.NO_TRACES, frozenset(), f"{why}: spans that are sent to it are lost"
    if found.spec.get("clusterIP") == "None":
        yield Does.PROTOCOL, whose, "it is headless: its callers' proxies know no workload behind it"
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
    """Tell what a Pod does beside what its Deployment says already."""
    marks, whose = {**found.labels, **found.annotations}, frozenset({name_of(found.labels) or found.name})
    said = _template(found, world)
    yield from _marks({key: value for key, value in marks.items() if said.get(key) != value}, whose)
    if _lacks_sidecar(found, world) and INJECT not in {*marks, *said}:
        yield Does.NO_SIDECAR, whose, "it has no sidecar, as others of its namespace have: restart it"


def _template(pod: Found, world: World) -> dict[str, str]:
    """The labels and annotations that the Deployment of a pod gives to its pods."""
    for each in world.objects:
        meta = (each.spec.get("template") or {}).get("metadata") or {} if each.kind == "Deployment" else {}
        labels = meta.get("labels") or {}
        if labels and each.namespace == pod.namespace and labels.items() <= pod.labels.items():
            return {**(meta.get("annotations") or {}), **labels}
    return {}


def _lacks_sidecar(pod: Found, world: World) -> bool:
    """Whether a pod has no sidecar while others of its namespace have one, and nobody keeps it from them now."""
    if not pod.spec.get("containers") or SIDECAR in _containers(pod):
        return False
    if any(each.kind == WEBHOOKS and without_endpoint(each, world) for each in world.objects):
        return False  # it is not the pod
    near = [each for each in world.objects if each.kind == "Pod" and each.namespace == pod.namespace]
    return any(SIDECAR in _containers(each) for each in near)


def _containers(pod: Found) -> set[str]:
    return {
        each.get("name", "") for key in ("containers", "initContainers") for each in pod.spec.get(key) or ()
    }


def _marks(marks: Mapping[str, str], whose: frozenset[str]) -> Told:
    if marks.get(INJECT) == "false":
        yield Does.NO_SIDECAR, whose, "sidecar.istio.io/inject is false"
    if marks.get("prometheus.io/scrape") == "false":
        yield Does.METRICS, whose, "prometheus.io/scrape is false: Prometheus passes it over"
    if marks.get("sidecar.istio.io/statsInclusionPrefixes"):
        yield Does.METRICS, whose, "its proxy keeps only some statistics"
