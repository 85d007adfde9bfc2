"""Tracing through Istio's Telemetry API: switched on before the pods are created, and put back as it was.

Of several Telemetry objects without a selector in one namespace istiod takes the oldest and ignores the
others (pilot/pkg/model/telemetry.go), so one that is there is changed instead of adding another. What is
written is owned by a field manager of its own: taking `spec.tracing` back leaves every other field as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, NotHereError
from meshlab.istio.facts import TELEMETRY, served_version
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.run.ledger import Entry, Ledger

API_VERSION, KIND = "telemetry.istio.io/v1", "Telemetry"  # before Istio 1.22 only v1alpha1 is served
NOTED = "tracing"  # kind of the ledger's entries that are written here
NAME = "meshlab-tracing"  # of the object and of the field manager
PERCENT = 100.0  # of requests that are traced: the lab's are few
# Hosts of the Services in Istio's Jaeger addon that take spans.
COLLECTORS = ("jaeger-collector", "zipkin")
TRACERS = ("opentelemetry", "zipkin")  # kinds of provider that reach Jaeger, the better one first


@dataclass(frozen=True)
class Before:
    """What one Telemetry object had before.

    made: the run created it, and removes it. tracing: its spec.tracing, None where it had none.
    """

    namespace: str
    name: str
    made: bool
    tracing: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True)
class Restore:
    """How to undo `enable`.

    provider: the mesh's extension provider that sends the spans. objects: in the order in which they were changed.
    """

    provider: str
    objects: tuple[Before, ...]


def enable(kube: Kube, config: LabConfig, mesh: Mesh, ledger: Ledger | None = None) -> Restore:
    """Trace every request: of the whole mesh where the run may write so far, else of the app's namespace.

    Announce Jaeger's Services first, and make pods afterwards: a listener that changes later loses its
    counters. May run twice (the second Restore then remembers what the first one wrote; keep the first).

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        mesh: The facts of the mesh.
        ledger: Gets what each object had, before it is changed.

    Returns:
        How to undo it.

    Raises:
        IstioError: The mesh has no provider that leads to Jaeger, or lacks its service.
        KubeError: The API server refuses it.
    """
    provider = find_provider(kube, mesh, anywhere=not config.ours)
    named = {"providers": [{"name": provider}]} if provider else {}
    wanted = [{**named, "randomSamplingPercentage": PERCENT}]
    changed = []
    for namespace in _namespaces(kube, config, mesh):
        there = _namespace_wide(kube, namespace)
        name = there["metadata"]["name"] if there else NAME
        tracing = (there or {}).get("spec", {}).get("tracing")
        kept = tuple(tracing) if tracing is not None else None
        changed.append(Before(namespace, name, made=there is None or name == NAME, tracing=kept))
        if ledger is not None:
            note(kube, ledger, changed[-1])
        _write(kube, namespace, name, wanted)
    return Restore(provider, tuple(changed))


def restore(kube: Kube, restore: Restore) -> None:
    """Put back what was there before; may run twice, or after the objects are gone.

    Args:
        kube: Client of the cluster.
        restore: What `enable` returned.

    Raises:
        KubeError: The API server refuses it.
    """
    for before in reversed(restore.objects):
        if before.made:
            kube.delete(api_version(kube), KIND, before.name, before.namespace, foreground=False)
        elif kube.get(api_version(kube), KIND, before.name, before.namespace) is not None:
            _write(kube, before.namespace, before.name, before.tracing)


def note(kube: Kube, ledger: Ledger, before: Before) -> None:
    """Write down how an object was, before it is changed.

    Once only: a second attempt finds what the first has written.

    Args:
        kube: Client of the cluster.
        ledger: What the run made, written down first.
        before: How it was.
    """
    entry = Entry(NOTED, f"{before.namespace}/{before.name}", kube.host, json.dumps(asdict(before)))
    if all(entry.name != each.name for each in _noted(kube, ledger)):
        ledger.intend(entry)


def restore_left(kube: Kube, ledger: Ledger) -> None:
    """Put back what a run that was cut off left changed in this cluster.

    May be called twice.

    Args:
        kube: Client of the cluster.
        ledger: Of that run.

    Raises:
        KubeError: The API server refuses it.
    """
    entries = _noted(kube, ledger)
    restore(kube, Restore("", tuple(Before(**json.loads(each.content)) for each in entries)))
    for entry in entries:
        ledger.gone(entry)


def api_version(kube: Kube) -> str:
    """Find the version in which the cluster serves Telemetry.

    Args:
        kube: Client of the cluster.

    Returns:
        Group and version; the newest, which the API server then refuses, where it serves none.

    Raises:
        KubeError: The API server does not answer.
    """
    return served_version(kube, TELEMETRY, KIND) or API_VERSION


def find_provider(kube: Kube, mesh: Mesh, *, anywhere: bool = False) -> str:
    """Find the mesh's extension provider whose spans reach Jaeger's collector.

    Args:
        kube: Client of the cluster.
        mesh: The facts of the mesh.
        anywhere: The collector may be any, as on a mesh of somebody else: the mesh's default provider is taken first, then
            any whose service is there, then what the proxies are told without a provider.

    Returns:
        The provider's name; "" where the proxies know a collector without one.

    Raises:
        IstioError: There is none, or the collector's service is not in the mesh.
        NotHereError: There is none, and the collector might have been any: the mesh has no tracing.
    """
    if not mesh.config:
        why = mesh.unknown.get("mesh configuration", "install Istio first")
        raise IstioError(f"{mesh.system_namespace} has no mesh configuration", remedy=why)
    collectors = tuple(f"{name}.{mesh.system_namespace}.svc" for name in COLLECTORS)
    for kind in TRACERS:
        for provider in mesh.providers:
            host = provider.service.rpartition("/")[2]
            if provider.kind != kind or not host.startswith(collectors):
                continue
            name, namespace = host.split(".")[:2]
            if kube.get("v1", "Service", name, namespace) is None:
                raise IstioError(
                    f"provider {provider.name} sends spans to {host}, which is no service of this cluster",
                    remedy="apply Jaeger's Services first: istiod leaves tracing out without them",
                )
            return provider.name
    named = [str(each.get("name")) for each in mesh.config.get("extensionProviders") or ()]
    names = ", ".join(named) or "none"
    if anywhere:
        found = _any_provider(kube, mesh)
        if found is None:
            raise NotHereError(
                f"this mesh has no tracing: no provider of it sends spans to a collector (it has: {names})",
                remedy="add one to meshConfig.extensionProviders: opentelemetry or zipkin, with service and port",
            )
        return found
    raise IstioError(
        f"no extension provider of the mesh leads to Jaeger (it has: {names})",
        remedy="add one to meshConfig.extensionProviders: name jaeger, opentelemetry.service "
        f"{collectors[0]}.{mesh.cluster_domain}, port 4317",
    )


def _any_provider(kube: Kube, mesh: Mesh) -> str | None:
    """The provider of a mesh whose collector is somebody else's; "" where proxies know one without, None without any."""
    defaults = (mesh.config.get("defaultProviders") or {}).get("tracing") or []
    for provider in sorted(mesh.providers, key=lambda each: each.name not in defaults):
        host = provider.service.rpartition("/")[2]
        if not host or provider.kind not in TRACERS:
            continue
        parts = host.split(".")
        if (
            provider.name in defaults
            or len(parts) < 2
            or kube.get("v1", "Service", parts[0], parts[1]) is not None
        ):
            return provider.name
    return "" if (mesh.config.get("defaultConfig") or {}).get("tracing") else None


def _noted(kube: Kube, ledger: Ledger) -> list[Entry]:
    return [each for each in ledger.entries() if each.kind == NOTED and each.where == kube.host]


def _namespaces(kube: Kube, config: LabConfig, mesh: Mesh) -> list[str]:
    """Where tracing is configured: a setting of the app's own namespace would win over the mesh's."""
    if config.scope != "mesh":
        return [config.namespace]
    own = _namespace_wide(kube, config.namespace)
    overrides = own is not None and "tracing" in own.get("spec", {})
    root = mesh.root_namespace
    return [root, config.namespace] if overrides else [root]


def _namespace_wide(kube: Kube, namespace: str) -> dict[str, Any] | None:
    """The Telemetry object that istiod takes for all of a namespace."""
    found = [
        each
        for each in kube.objects(api_version(kube), KIND, namespace)
        if not any(each.get("spec", {}).get(key) for key in ("selector", "targetRef", "targetRefs"))
    ]
    return min(found, key=_age, default=None)


def _age(each: Mapping[str, Any]) -> tuple[str, str]:
    return each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"]


def _write(kube: Kube, namespace: str, name: str, tracing: Sequence[Mapping[str, Any]] | None) -> None:
    document = {
        "apiVersion": api_version(kube),
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {} if tracing is None else {"tracing": [dict(each) for each in tracing]},
    }
    kube.server_side_apply(document, namespace=namespace, field_manager=NAME)
