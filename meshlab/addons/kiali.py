"""Kiali, from the addon manifest that Istio ships, where its image can be had: no build of ours stands for
it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshlab.addons.kiali_client import TIMEOUT, KialiClient
from meshlab.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import containers
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef, apply, delete, read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.kube.rollout import wait_deployments
from meshlab.progress import Progress, silent
from meshlab.settings import LabConfig
from meshlab.waiting import Clock, wait

__all__ = [
    "KialiClient",
    "client",
    "deploy",
    "images",
    "manifest",
    "port_forward",
    "remove",
    "wait_answering",
    "why_not",
]

NAME, PORT = "kiali", 20001
MANIFEST = "addons/kiali.yaml"  # in the distribution's samples


def manifest(distribution: Distribution) -> list[dict[str, Any]]:
    """The addon's objects, unchanged. Raises InputError for a manifest that can't be read."""
    return read_manifests(distribution.samples / MANIFEST)


def images(distribution: Distribution) -> tuple[str, ...]:
    """The images that the addon needs, as its manifest names them."""
    return tuple(each["image"] for document in manifest(distribution) for each in containers(document))


def why_not(config: LabConfig, distribution: Distribution, kube: Kube, archived: Sequence[str] = ()) -> str:
    """Why Kiali can't run here, for the skip's reason; empty where it can, or runs already.

    archived: references of the images that image archives brought into the cluster.
    """
    if _is_theirs(config, kube):
        return ""
    if config.scope != "mesh":
        return f"there is no Kiali in {SYSTEM_NAMESPACE}, and the run may not put one there (--allow-changes)"
    if config.image_source == "embedded":
        needed = images(distribution)
        missing = [each for each in needed if not any(_same(each, held) for held in archived)]
        if missing:
            return (
                f"the cluster has no registry, and no image archive holds {', '.join(missing)} "
                "(local.image_archives)"
            )
    return ""


def deploy(
    config: LabConfig,
    distribution: Distribution,
    kube: Kube,
    *,
    archived: Sequence[str] = (),
    progress: Progress = silent,
) -> tuple[ObjectRef, ...]:
    """Apply the addon and wait until it is Ready (its own probe begins after 30 s); returns what was applied.

    On a cluster that is not ours a Kiali that is there is used as it is, and nothing is applied. Raises
    IstioError where it can't run (ask `why_not` before), RolloutError with the cause, KubeError.
    """
    reason = why_not(config, distribution, kube, archived)
    if reason:
        raise IstioError(f"Kiali can't run here: {reason}", remedy="name an archive of its image, or skip it")
    refs = () if _is_theirs(config, kube) else apply(kube, manifest(distribution))
    timeout = config.app.rollout_timeout
    wait_deployments(kube, SYSTEM_NAMESPACE, [NAME], timeout=timeout, progress=progress)
    return refs


def remove(kube: Kube, refs: Sequence[ObjectRef], *, timeout: float = 60) -> None:
    """Delete what `deploy` applied. Running it twice is fine. Raises WaitTimeout, KubeError."""
    delete(kube, refs, timeout=timeout)


def port_forward(kube: Kube, namespace: str = SYSTEM_NAMESPACE) -> PortForward:
    """A local port that leads to Kiali's page and API."""
    return PortForward(kube, namespace=namespace, port=PORT, service=NAME)


def client(forward: PortForward, *, timeout: float = TIMEOUT) -> KialiClient:
    """A client behind an open port-forward, whose errors name why that leads nowhere. timeout: seconds."""
    return KialiClient(
        forward.url, timeout=timeout, why=lambda: forward.last_error.message if forward.last_error else ""
    )


def wait_answering(asked: KialiClient, *, timeout: float, clock: Clock | None = None) -> None:
    """Wait until Kiali answers. Raises WaitTimeout, or QueryError for a version that is not read here."""
    wait(
        f"Kiali at {asked.url} to answer",
        asked.version,
        ready=lambda _: True,
        timeout=timeout,
        remedy="look at the log of its pod",
        clock=clock,
    )


def _is_theirs(config: LabConfig, kube: Kube) -> bool:
    return not config.ours and kube.get("apps/v1", "Deployment", NAME, SYSTEM_NAMESPACE) is not None


def _same(one: str, other: str) -> bool:
    """Whether two references mean one image: the registry may be left out, and a digest added."""
    a, b = one.partition("@")[0], other.partition("@")[0]
    return a == b or a.endswith(f"/{b}") or b.endswith(f"/{a}")
