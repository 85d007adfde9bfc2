"""Istio's own Gateways: their servers, what they are for, and how a request reaches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.istio_objects import labels, selects
from meshlab.security.audit.objects import Object

Server = Mapping[str, Any]
MESH = "mesh"  # in a VirtualService's gateways: the sidecars


def servers(gateway: Object) -> list[Any]:
    """Its servers."""
    return (gateway.get("spec") or {}).get("servers") or []


def selector(gateway: Object) -> Mapping[str, str]:
    """The labels of its pods."""
    return (gateway.get("spec") or {}).get("selector") or {}


def is_egress(gateway: Object, inventory: Inventory) -> bool:
    """Tell whether a Gateway is where the mesh leaves: by its pods' labels, or because sidecars are routed to it.

    Args:
        gateway: The Gateway.
        inventory: Where its pods, its Service and the routes are.

    Returns:
        True where it is.
    """
    chosen = selector(gateway)
    pods = [pod for pod in inventory.running() if chosen and selects(chosen, pod)]
    marks = [chosen, *((pod["metadata"].get("labels") or {}) for pod in pods)]
    if any("egress" in str(each.get(key, "")) for each in marks for key in ("istio", "app")):
        return True
    behind = {
        (each["metadata"]["name"], each["metadata"]["namespace"])
        for each in inventory.of("Service")
        if chosen and chosen.items() <= ((each.get("spec") or {}).get("selector") or {}).items()
    }
    return bool(behind & set(_sent_by_sidecars(inventory)))


def _sent_by_sidecars(inventory: Inventory) -> Iterator[tuple[str, str]]:
    """(name, namespace) of each Service to which sidecars are routed."""
    for service in inventory.of("VirtualService"):
        spec, home = service.get("spec") or {}, service["metadata"]["namespace"]
        bound = spec.get("gateways") or [MESH]
        for route in (*(spec.get("http") or []), *(spec.get("tls") or []), *(spec.get("tcp") or [])):
            matched = [gate for match in route.get("match") or [] for gate in match.get("gateways") or []]
            if MESH in (matched or bound):
                for each in route.get("route") or []:
                    host = str((each.get("destination") or {}).get("host", ""))
                    name, _, rest = host.partition(".")
                    yield name, rest.partition(".")[0] or home


def about(gateway: Object, server: Server, inventory: Inventory) -> dict[str, str]:
    """How the server is reached, for a proof.

    Args:
        gateway: The Gateway.
        server: One of its servers.
        inventory: Where its routes are.

    Returns:
        The labels of its pods, its port, and a path that is routed.
    """
    meta = gateway["metadata"]
    return {
        "namespace": meta["namespace"],
        "selector": labels(selector(gateway)).get("selector", ""),
        "port": str((server.get("port") or {}).get("number", "")),
        "protocol": str((server.get("port") or {}).get("protocol", "")).upper(),
        "path": _routed_path(inventory, meta["namespace"], meta["name"]),
    }


def is_path(text: str) -> bool:
    """Whether a text from the cluster may follow an address: anything but a path could make it another address."""
    return text.startswith("/") and text.isprintable() and " " not in text


def _routed_path(inventory: Inventory, namespace: str, name: str) -> str:
    """A path that some VirtualService routes through this gateway, `/` where none says."""
    for service in inventory.of("VirtualService"):
        spec = service.get("spec") or {}
        own = service["metadata"]["namespace"]
        bound = [g if "/" in g else f"{own}/{g}" for g in spec.get("gateways") or []]
        if f"{namespace}/{name}" not in bound:
            continue
        for route in spec.get("http") or []:
            for match in route.get("match") or [{}]:
                uri = match.get("uri") or {}
                path = str(uri.get("exact") or uri.get("prefix") or "/")
                return path if is_path(path) else "/"
    return "/"
