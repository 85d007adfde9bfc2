"""The configuration that can explain a red check: every object that selects or routes traffic, and who changed it last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshlab.causes.parts import PARTS
from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube

NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"
# As kubectl tells it from Istio's kind of the same name.
GATEWAY_API = "Gateway.gateway.networking.k8s.io"
# Secrets are never read: what is written down here goes into results.
KINDS: tuple[tuple[str, str], ...] = (
    *(
        (NETWORKING, kind)
        for kind in ("VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "Sidecar")
    ),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    *((SECURITY, kind) for kind in ("PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy")),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("gateway.networking.k8s.io/v1", GATEWAY_API),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("v1", "Pod"),
    ("v1", "ConfigMap"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
)
PASSED_OVER = (401, 403, 404)  # a kind that is not there, or that the run may not read


@dataclass(frozen=True)
class Found:
    """One object.

    Attributes:
        kind: As Kubernetes names it.
        namespace: Where it is; "" where its kind has none.
        name: Its name.
        spec: What it asks for; of a kind without a `spec` what `parts.PARTS` takes of it.
        labels: Its labels.
        annotations: Its annotations.
        changed: Who changed it last and when, as `managedFields` tell; "" where they don't.
    """

    kind: str
    namespace: str
    name: str
    spec: Mapping[str, Any] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    changed: str = ""

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


def read(kube: Kube) -> tuple[Found, ...]:
    """Read all objects of these kinds, in every namespace that may be read.

    Args:
        kube: Client of the cluster.

    Returns:
        The objects.

    Raises:
        KubeError: The cluster does not answer.
    """
    return tuple(found for api_version, kind in KINDS for found in _of_kind(kube, api_version, kind))


def _of_kind(kube: Kube, api_version: str, kind: str) -> Iterable[Found]:
    try:
        objects = kube.objects(api_version, kind.partition(".")[0])
    except KubeError as problem:
        if problem.status in PASSED_OVER:
            return ()
        raise
    found = [found_of(kind, each) for each in objects]
    return [each for each in found if each.spec] if kind in PARTS else found


def found_of(kind: str, document: Mapping[str, Any]) -> Found:
    """Take what matters of an object.

    Args:
        kind: Its kind.
        document: The object, as the API server gives it.

    Returns:
        It.
    """
    meta = document["metadata"]
    return Found(
        kind,
        meta.get("namespace", ""),
        meta["name"],
        PARTS[kind](document) if kind in PARTS else document.get("spec") or {},
        meta.get("labels") or {},
        meta.get("annotations") or {},
        last_change(meta),
    )


def last_change(meta: Mapping[str, Any]) -> str:
    """Say who changed an object last, and when; changes of its status don't count."""
    times = [
        (str(each["time"]), str(each.get("manager", "somebody")))
        for each in meta.get("managedFields") or ()
        if each.get("time") and each.get("subresource") != "status"
    ]
    if not times:
        return ""
    when, who = max(times)
    return f"{'created' if when == meta.get('creationTimestamp') else 'changed'} {when} by {who}"
