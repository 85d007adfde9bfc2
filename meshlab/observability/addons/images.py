"""Which images an addon needs, and which a cluster has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.istio.images import containers
from meshlab.kube.client import Kube


def images(documents: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the images that an addon needs, as its manifest names them."""
    return tuple(each["image"] for document in documents for each in containers(document))


def same(one: str, other: str) -> bool:
    """Tell whether two references mean one image: the registry may be left out, and a digest added.

    Args:
        one: A reference.
        other: Another one.

    Returns:
        True where they mean the same image.
    """
    a, b = one.partition("@")[0], other.partition("@")[0]
    return a == b or a.endswith(f"/{b}") or b.endswith(f"/{a}")


def reported(kube: Kube) -> set[str]:
    """Return the images that the nodes say they have."""
    return {
        name
        for node in kube.objects("v1", "Node")
        for image in node.get("status", {}).get("images") or []
        for name in image.get("names") or []
    }


def why_no_images(kube: Kube, documents: Iterable[Mapping[str, Any]], held: Iterable[str]) -> str:
    """Say which images of an addon can't be had where there is no registry.

    Args:
        kube: Client of the cluster.
        documents: The addon's objects.
        held: References of images that the cluster was given, beside those that its nodes report.

    Returns:
        The reason; "" where none is missing.
    """
    known = {*held, *reported(kube)}
    missing = [image for image in images(documents) if not any(same(image, each) for each in known)]
    if not missing:
        return ""
    return f"there is no registry, and no image archive holds {', '.join(missing)} (local.image_archives)"
