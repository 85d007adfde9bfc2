"""A mesh in memory whose Telemetry objects are applied field by field, as server-side apply does."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from tests.fakes.mesh import FakeMesh, make_object

API_VERSION = "telemetry.istio.io/v1"
JAEGER = {
    "name": "jaeger",
    "opentelemetry": {"service": "jaeger-collector.istio-system.svc.cluster.local", "port": 4317},
}
ZIPKIN = {"name": "zip", "zipkin": {"service": "zipkin.istio-system.svc.cluster.local", "port": 9411}}
OTHER = {"name": "otel", "opentelemetry": {"service": "collector.observability.svc.cluster.local"}}


class FakeTelemetryMesh(FakeMesh):
    """Knows the mesh's configuration, and who set which field of a Telemetry's spec."""

    def __init__(
        self,
        objects: Iterable[Mapping[str, Any]] = (),
        *,
        providers: Iterable[Mapping[str, Any]] = (OTHER, ZIPKIN, JAEGER),
        services: Iterable[str] = ("jaeger-collector", "zipkin"),
    ) -> None:
        super().__init__()
        self.kinds[API_VERSION, "Telemetry"] = True
        self._owners: dict[tuple[str, str, str], set[str]] = {}
        mesh = yaml.safe_dump({"extensionProviders": [dict(each) for each in providers]})
        self.put({**make_object("v1", "ConfigMap", "istio", "istio-system"), "data": {"mesh": mesh}})
        for name in services:
            self.put(make_object("v1", "Service", name, "istio-system"))
        for each in objects:
            self.put(each)

    def server_side_apply(
        self, document: Mapping[str, Any], *, namespace: str | None = None, field_manager: str = "meshlab"
    ) -> dict[str, Any]:
        if document["kind"] != "Telemetry":
            return super().server_side_apply(document, namespace=namespace, field_manager=field_manager)
        name = document["metadata"]["name"]
        self.calls.append(("apply", "Telemetry", name))
        stored = self.get(document["apiVersion"], "Telemetry", name, namespace)
        if stored is None:
            meta = {**document["metadata"], "creationTimestamp": "2026-06-06T00:00:00Z"}
            stored = {**document, "metadata": meta, "spec": {}}
        mine = self._owners.setdefault((namespace or "", name, field_manager), set())
        for field in mine - document["spec"].keys():
            stored["spec"].pop(field, None)
        stored["spec"] |= copy.deepcopy(dict(document["spec"]))
        mine.clear()
        mine.update(document["spec"])
        self.put(stored)
        return stored

    def spec(self, name: str, namespace: str) -> dict[str, Any] | None:
        """The spec of a Telemetry, None where it does not exist."""
        found = self.get(API_VERSION, "Telemetry", name, namespace)
        return None if found is None else found["spec"]


def telemetry(
    name: str, namespace: str, spec: Mapping[str, Any], *, created: str = "2026-01-01T00:00:00Z"
) -> dict[str, Any]:
    """A Telemetry object that somebody else made."""
    found = make_object(API_VERSION, "Telemetry", name, namespace)
    found["metadata"]["creationTimestamp"] = created
    return {**found, "spec": dict(spec)}
