"""What of the mesh's policies is in force in a namespace as a whole: mutual TLS, outbound traffic, telemetry.

Of several objects of one kind without a selector istiod takes the oldest (by creation, then by name). What
selects workloads is left out here: it holds for those only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
PERMISSIVE, ALLOW_ANY = "PERMISSIVE", "ALLOW_ANY"
SELECTORS = ("selector", "workloadSelector", "targetRef", "targetRefs")


def namespace_wide(objects: Iterable[Object], namespace: str) -> Object | None:
    """Find the object that istiod takes for the whole of a namespace.

    Args:
        objects: Of one kind.
        namespace: Where it must be.

    Returns:
        The oldest one without a selector; None where there is none.
    """
    found = [
        each
        for each in objects
        if each["metadata"].get("namespace") == namespace and not _selective(each.get("spec") or {})
    ]
    return min(found, key=age, default=None)


def age(each: Object) -> tuple[str, str]:
    """Order objects as istiod does: the oldest first, then by name."""
    return each["metadata"].get("creationTimestamp") or "", each["metadata"]["name"]


def mtls_mode(objects: Sequence[Object], namespace: str, root: str) -> str:
    """Tell the mutual TLS mode of a namespace's workloads, where no PeerAuthentication selects them.

    Args:
        objects: PeerAuthentications.
        namespace: The namespace.
        root: The root namespace.

    Returns:
        STRICT, PERMISSIVE or DISABLE.
    """
    for each in (namespace_wide(objects, namespace), namespace_wide(objects, root)):
        mode = str((((each or {}).get("spec") or {}).get("mtls") or {}).get("mode") or "UNSET")
        if mode != "UNSET":
            return mode
    return PERMISSIVE


def outbound_mode(
    objects: Sequence[Object], config: Mapping[str, Any], namespace: str, root: str
) -> tuple[str, str]:
    """Tell what becomes of traffic to hosts that the mesh does not know.

    A namespace's own Sidecar inherits nothing from the root namespace's: without a policy of its own the mesh
    configuration's holds again.

    Args:
        objects: Sidecars.
        config: The mesh's configuration.
        namespace: The namespace.
        root: The root namespace.

    Returns:
        The mode, and where it is set: `Sidecar NAMESPACE/NAME`, `meshConfig`, or `default`.
    """
    sidecar = namespace_wide(objects, namespace) or namespace_wide(objects, root)
    policy = ((sidecar or {}).get("spec") or {}).get("outboundTrafficPolicy")
    if sidecar is not None and policy is not None:
        meta = sidecar["metadata"]
        # An empty policy is there and has the zero value of its mode, REGISTRY_ONLY.
        return str(policy.get("mode") or "REGISTRY_ONLY"), f"Sidecar {meta['namespace']}/{meta['name']}"
    mode = (config.get("outboundTrafficPolicy") or {}).get("mode")
    return (str(mode), "meshConfig") if mode else (ALLOW_ANY, "default")


def telemetry_providers(
    telemetries: Sequence[Object], defaults: Sequence[str], field: str, namespace: str, root: str
) -> tuple[str, ...]:
    """Name the providers that get a namespace's metrics, spans or access logs.

    Args:
        telemetries: Telemetry objects.
        defaults: The mesh configuration's default providers.
        field: `metrics`, `tracing` or `accessLogging`.
        namespace: The namespace.
        root: The root namespace.

    Returns:
        The names, sorted; empty where nothing is sent.
    """
    layers = dict.fromkeys((root, namespace))
    named, off = list(defaults), False
    for layer in layers:
        spec = (namespace_wide(telemetries, layer) or {}).get("spec") or {}
        for each in spec.get(field) or []:
            providers = [str(one.get("name", "")) for one in each.get("providers") or []]
            named = providers or named
            switch = "disableSpanReporting" if field == "tracing" else "disabled"
            off = bool(each.get(switch, False if providers else off))
    return () if off else tuple(sorted(dict.fromkeys(named)))


def _selective(spec: Mapping[str, Any]) -> bool:
    for key in SELECTORS:
        found = spec.get(key)
        if isinstance(found, Mapping) and set(found) <= {"matchLabels", "labels"}:
            if any(found.values()):
                return True
        elif found:
            return True
    return False
