"""The official images that pods name, for a cluster whose nodes can't pull them themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from meshlab.core.errors import IstioError
from meshlab.istio.images import containers

INJECTOR, MESH = "istio-sidecar-injector", "istio"  # ConfigMaps
TYPES = ("distroless", "debug")  # of Istio's images, in their tags
AUTO = "auto"  # stands where the injector fills the image in


def named(objects: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Find the images that objects name, each once.

    Args:
        objects: Kubernetes objects, such as those of `istioctl manifest generate`. Of Istio's injector, the images of the
            sidecars that it makes count, too.

    Returns:
        References, as the objects name them.

    Raises:
        IstioError: The injector's values are not as Istio writes them.
    """
    objects = list(objects)
    kind = _type_of_proxies(objects)
    found: list[str] = []
    for each in objects:
        found += [container["image"] for container in containers(each)]
        if _is_config(each, INJECTOR):
            found += _injected(each, kind)
    return tuple(dict.fromkeys(image for image in found if image != AUTO))


def _is_config(found: Mapping[str, Any], name: str) -> bool:
    """Tell whether it is a ConfigMap of Istio's; with a revision, that stands behind the name."""
    own = str(found["metadata"]["name"])
    return bool(found["kind"] == "ConfigMap") and (own == name or own.startswith(f"{name}-"))


def _type_of_proxies(objects: Iterable[Mapping[str, Any]]) -> str:
    """The type of the proxies' image in the mesh's defaultConfig; "" where there is none."""
    for each in objects:
        if _is_config(each, MESH) and "mesh" in each.get("data", {}):
            mesh = yaml.safe_load(each["data"]["mesh"]) or {}
            image = (mesh.get("defaultConfig") or {}).get("image") or {}
            return str(image.get("imageType") or "")
    return ""


def _injected(config_map: Mapping[str, Any], kind: str) -> list[str]:
    """The images of sidecars and of their init containers: whole names, or names below hub and tag."""
    try:
        values = json.loads(config_map["data"]["values"])["global"]
        hub, tag, variant = values["hub"], str(values["tag"]), values.get("variant") or ""
        pairs = {(values["proxy"]["image"], kind or variant), (values["proxy_init"]["image"], variant)}
    except (KeyError, TypeError, ValueError) as problem:
        raise IstioError(
            f"the injector's ConfigMap does not tell its images: {problem!r}",
            remedy="compare `istioctl manifest generate` with meshlab/istio/official.py",
        ) from problem
    return [name if "/" in name else f"{hub}/{name}:{_typed(tag, each)}" for name, each in sorted(pairs)]


def _typed(tag: str, kind: str) -> str:
    """A tag of an image of another type, as Istio's injector writes it (updateImageTypeIfPresent in pkg/kube/inject)."""
    if not kind:
        return tag
    known = next((f"-{each}" for each in TYPES if tag.endswith(f"-{each}")), "")
    tag = tag.removesuffix(known)
    return tag if kind == "default" else f"{tag}-{kind}"
