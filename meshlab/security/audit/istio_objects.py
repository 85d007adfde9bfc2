"""What rules about Istio's objects read and write of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab.security.audit.inventory import Inventory, Object
from meshlab.security.audit.model import as_yaml


def selector(document: Object) -> Mapping[str, str]:
    """The labels by which an object picks its workloads; empty where it is for all."""
    spec = document.get("spec") or {}
    chosen = spec.get("selector") or spec.get("workloadSelector") or {}
    return chosen.get("matchLabels") or chosen.get("labels") or {}


def labels(chosen: Mapping[str, str]) -> dict[str, str]:
    """A selector as a proof's facts carry it."""
    return {"selector": ",".join(f"{k}={v}" for k, v in chosen.items())} if chosen else {}


def in_root(document: Object, inventory: Inventory) -> bool:
    """Whether it stands in the namespace whose policies hold for the whole mesh."""
    return str(document["metadata"]["namespace"]) == inventory.root


def operator(mesh_config: Mapping[str, Any]) -> dict[str, Any]:
    """An IstioOperator that sets these fields of the mesh configuration."""
    return {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {"meshConfig": dict(mesh_config)},
    }


def again(document: Object, spec: Mapping[str, Any]) -> str:
    """Write an object with another spec.

    Args:
        document: The object.
        spec: The spec.

    Returns:
        YAML.
    """
    meta = document["metadata"]
    return as_yaml(
        {
            "apiVersion": document["apiVersion"],
            "kind": document["kind"],
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "spec": dict(spec),
        }
    )
