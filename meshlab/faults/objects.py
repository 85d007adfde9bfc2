"""The objects that faults are made of, as the API takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.kube.apply import ObjectRef

NETWORKING = "networking.istio.io/v1"
SECURITY = "security.istio.io/v1"
TELEMETRY = "telemetry.istio.io/v1"
FILTERS = "networking.istio.io/v1alpha3"
PREFIX = "sabotage"

Object = dict[str, Any]


def make(api_version: str, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> Object:
    """Make an object of ours: its name tells where it comes from.

    Args:
        api_version: Of the kind, as in `apps/v1`.
        kind: Of the object, as in `Deployment`.
        name: What follows our prefix.
        namespace: The object's.
        spec: The object's.

    Returns:
        The object.
    """
    metadata = {"name": f"{PREFIX}-{name}", "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def route(name: str, namespace: str, host: str, *, subset: str = "", **http: Any) -> Object:
    """A VirtualService that sends all of a host's HTTP traffic to it again, or to a subset of it.

    http: further fields of the HTTP route, such as `fault`.
    """
    destination = {"host": host, **({"subset": subset} if subset else {})}
    return make(
        NETWORKING,
        "VirtualService",
        name,
        namespace,
        {"hosts": [host], "http": [{**http, "route": [{"destination": destination}]}]},
    )


def percent(value: float) -> dict[str, float]:
    """A share of requests, as fault injection takes it."""
    return {"value": value}


def peer_authentication(
    name: str, namespace: str, mode: str, *, app: str = "", ports: Mapping[int, str] | None = None
) -> Object:
    """A PeerAuthentication of a namespace, or of the workloads with one label `app`, with modes of ports."""
    spec: dict[str, Any] = {"mtls": {"mode": mode}}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    if ports:
        spec["portLevelMtls"] = {str(port): {"mode": its} for port, its in ports.items()}
    return make(SECURITY, "PeerAuthentication", name, namespace, spec)


def allow(
    name: str, namespace: str, rules: Sequence[Mapping[str, Any]], *, app: str = "", action: str = "ALLOW"
) -> Object:
    """An AuthorizationPolicy of a namespace, or of the workloads with one label `app`."""
    spec: dict[str, Any] = {"action": action, "rules": [dict(rule) for rule in rules]}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    return make(SECURITY, "AuthorizationPolicy", name, namespace, spec)


def from_account(namespace: str, account: str, trust_domain: str = "cluster.local") -> dict[str, Any]:
    """A policy's rule for callers with one service account."""
    return {"from": [{"source": {"principals": [f"{trust_domain}/ns/{namespace}/sa/{account}"]}}]}


def deployment(name: str, namespace: str) -> ObjectRef:
    """A Deployment's name."""
    return ObjectRef("apps/v1", "Deployment", namespace, name)
