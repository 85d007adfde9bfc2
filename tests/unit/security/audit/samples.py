"""Objects of Istio and Kubernetes for the audit's tests, and an inventory of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.mesh import Mesh
from meshlab.security.audit.inventory import KINDS, Inventory
from meshlab.security.audit.model import Examined
from meshlab.security.audit.rules import RULES

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def thing(
    kind: str, name: str, namespace: str | None = "shop", spec: Any = None, **meta: Any
) -> dict[str, Any]:
    """One object of a kind that the audit reads."""
    place = {"namespace": namespace} if namespace else {}
    body = {} if spec is None else {"spec": spec}
    head = {"apiVersion": KINDS[kind], "kind": kind.partition(".")[0]}
    return {**head, "metadata": {"name": name, **place, **meta}, **body}


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """A namespace; of its labels' names `_` stands for `-`."""
    return thing("Namespace", name, None, labels={k.replace("_", "-"): v for k, v in labels.items()})


def pod(
    name: str,
    home: str = "shop",
    *,
    proxy: str | None = None,
    owner: tuple[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    **meta: Any,
) -> dict[str, Any]:
    """A running pod. proxy: the role of its istio-proxy container, `native` for a native sidecar, None for none."""
    containers: list[dict[str, Any]] = (
        [] if proxy in ("router", "waypoint", "ztunnel") else [{"name": "main"}]
    )
    first: list[dict[str, Any]] = []
    if proxy == "native":
        first.append({"name": "istio-proxy", "restartPolicy": "Always", "args": ["proxy", "sidecar"]})
    elif proxy:
        containers.append({"name": "istio-proxy", "args": ["proxy", proxy]})
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    body = {"containers": containers, "initContainers": first, **(spec or {})}
    made = thing("Pod", name, home, body, ownerReferences=owners, **meta)
    return {**made, "status": {"phase": "Running", "podIP": "10.0.0.9"}}


def inventory(*objects: Mapping[str, Any], mesh: Mapping[str, Any] | None = None, **more: Any) -> Inventory:
    """All of these, in audited namespaces."""
    kinds = {(kind.partition(".")[0], version): kind for kind, version in KINDS.items()}
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for each in objects:
        kind = kinds[each["kind"], each["apiVersion"]]
        found[kind] = (*found.get(kind, ()), each)
    homes = {str(each["metadata"].get("namespace", "")) for each in objects} - {""}
    return Inventory(found, tuple(sorted(homes)), facts(mesh or {}), now=NOW, **more)


def facts(config: Mapping[str, Any], *planes: ControlPlane, **more: Any) -> Mesh:
    """The facts of a mesh with this configuration."""
    told = {"trust_domain": config.get("trustDomain"), "root_namespace": config.get("rootNamespace")}
    given = {key: value for key, value in told.items() if value}
    serving = planes[0] if planes else None
    return Mesh("shop", planes, serving, config=config, **{**given, **more})


def examine(rule: str, *objects: Mapping[str, Any], **more: Any) -> Examined:
    """What a rule finds in an inventory of these."""
    return next(each for each in RULES if each.id == rule).examine(inventory(*objects, **more))


def told(examined: Examined) -> list[tuple[str, str]]:
    """(severity, resource) of each finding."""
    return [(str(each.severity), each.resource) for each in examined.findings]
