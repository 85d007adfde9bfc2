"""The embedded distribution's images: which a cluster holds, and manifests that use them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from meshlab.clusters.local import images as embedded
from meshlab.clusters.local import istio_cni
from meshlab.core.errors import IstioError
from meshlab.core.waiting import Clock, wait
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube

Answer = TypeVar("Answer")
REPORTED_WITHIN = 60.0  # seconds; a kubelet lists its images every 30 s, and reports news every 10 s
REMEDY = "run on a cluster that has them (--cluster local), or with official images: --set images=official"


def in_cluster(kube: Kube) -> tuple[str, ...]:
    """Find the images of the embedded distribution that the cluster holds.

    First come those that pods use, then those that nodes report: a node may still hold the images of an earlier build. For
    clusters that this run did not create.
    """
    used = [image for pod in kube.pods(None) for image in pod.images.values()]
    held = [
        name
        for node in kube.objects("v1", "Node")
        for image in node.get("status", {}).get("images") or []
        for name in image.get("names") or []
    ]
    return tuple(dict.fromkeys(name for name in [*used, *held] if name.startswith(f"{embedded.HUB}/")))


def from_cluster(
    kube: Kube,
    use: Callable[[tuple[str, ...]], Answer],
    *,
    clock: Clock | None = None,
) -> Answer:
    """Ask for something that is made of the images that the cluster holds, again while one is missing.

    A node that has just become Ready, or just got an image, reports it some seconds later.

    Args:
        kube: Client of the cluster.
        use: Makes it, given the images' references; raises a retryable error while one is missing.
        timeout: Seconds, at most.
        clock: Of the wait; the machine's where not given.

    Returns:
        What it made.

    Raises:
        WaitTimeout: An image is missing; its text names it.
        KubeError: The nodes can't be listed.
    """
    return wait(
        "the nodes to report the embedded distribution's images",
        lambda: use(in_cluster(kube)),
        ready=lambda _: True,
        describe=lambda _: "all of them are there",
        timeout=REPORTED_WITHIN,
        remedy=REMEDY,
        clock=clock,
    )


def hub_and_tag(images: Iterable[str]) -> tuple[str, str]:
    """Find hub and tag under which istioctl finds pilot and proxyv2.

    Raises IstioError unless both are there with one tag.
    """
    held = [reference.rpartition(":") for reference in images]
    for repository, _, tag in held:
        if repository == f"{embedded.HUB}/pilot" and (f"{embedded.HUB}/proxyv2", ":", tag) in held:
            return embedded.HUB, tag
    raise IstioError("the cluster lacks the embedded images pilot and proxyv2", remedy=REMEDY, retryable=True)


def cni_tag(images: Iterable[str]) -> str:
    """Find the tag of the image of Istio's CNI node agent. Raises IstioError where it is not there."""
    for reference in images:
        repository, _, tag = reference.rpartition(":")
        if repository == f"{embedded.HUB}/{istio_cni.AGENT}":
            return tag
    raise IstioError(f"the cluster lacks the embedded image {istio_cni.AGENT}", remedy=REMEDY, retryable=True)


def replace(documents: Iterable[Mapping[str, Any]], images: Sequence[str]) -> list[dict[str, Any]]:
    """Replace every image of a pod template by an embedded one; nothing else changes.

    Args:
        documents: The objects.
        images: References of the embedded images that the cluster has.

    Returns:
        Copies of the objects.

    Raises:
        IstioError: An image has no replacement.
    """
    replaced = [copy.deepcopy(dict(document)) for document in documents]
    for document in replaced:
        for container in containers(document):
            found = embedded.replacement(container["image"], images)
            if found is None:
                where = f"{document['kind']} {document['metadata']['name']}"
                what = f"no embedded image replaces {container['image']} ({where})"
                raise IstioError(what, remedy=REMEDY, retryable=True)
            container["image"] = found
    return replaced


def containers(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the containers of an object's pod template, init containers included; none for other objects."""
    spec = (document.get("spec") or {}).get("template", {}).get("spec") or {}
    yield from spec.get("initContainers") or []
    yield from spec.get("containers") or []


def of_istio(kube: Kube, mesh: Mesh) -> tuple[str, ...]:
    """Find the images of Istio's control planes and gateways.

    Args:
        kube: Client of the cluster.
        mesh: The facts of the mesh: where Istio runs.

    Returns:
        Each once.
    """
    deployed = [
        each for home in mesh.istio_namespaces for each in kube.objects("apps/v1", "Deployment", home)
    ]
    found = {container.get("image", "") for each in deployed for container in containers(each)}
    return tuple(sorted(found - {""}))
