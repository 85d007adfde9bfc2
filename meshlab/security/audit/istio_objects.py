"""What rules about Istio's objects read of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.objects import Object


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


def selects(chosen: Mapping[str, str], pod: Object) -> bool:
    """Whether labels pick a pod; none pick all.

    Args:
        chosen: The labels.
        pod: The pod.

    Returns:
        True where they do.
    """
    return chosen.items() <= (pod["metadata"].get("labels") or {}).items()


def oldest(documents: Iterable[Object]) -> Object | None:
    """Of several objects of one layer the one that istiod takes."""
    return min(
        documents,
        key=lambda each: (str(each["metadata"].get("creationTimestamp", "")), each["metadata"]["name"]),
        default=None,
    )
