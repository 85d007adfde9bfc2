"""Jaeger, from the addon manifest that Istio ships; on a mesh of ours with our image of it, else as it is.

Its Services come first (`announce`): istiod leaves tracing out of a proxy's configuration, without a word,
while the provider's service is not in the mesh. Jaeger itself may follow when its image is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.progress import Progress, silent
from meshlab.core.waiting import Clock, wait
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import in_cluster, replace
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef, apply, delete, read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.observability.addons import shipped
from meshlab.observability.addons.jaeger_client import TIMEOUT, Dependency, JaegerClient

__all__ = [
    "Dependency",
    "JaegerClient",
    "announce",
    "client",
    "deploy",
    "manifest",
    "port_forward",
    "remove",
    "wait_answering",
]

NAME = "jaeger"  # of the Deployment, and in the label app of everything
SERVICE, PORT = "tracing", 80  # where its page and its query API are
MANIFEST = "addons/jaeger.yaml"  # in the distribution's samples


def manifest(
    distribution: Distribution, config: LabConfig, images: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The addon's objects, from the distribution's own samples/addons/jaeger.yaml; its configuration is kept.

    Embedded images (`images`: references of ours): the image is replaced, nothing else. Raises InputError for
    a manifest that can't be read, IstioError when no image of ours stands for Jaeger's.
    """
    documents = read_manifests(distribution.samples / MANIFEST)
    return replace(documents, images) if config.image_source == "embedded" else documents


def announce(config: LabConfig, distribution: Distribution, kube: Kube) -> tuple[ObjectRef, ...]:
    """Apply the addon's Services alone, before any pod with a sidecar is born; returns them.

    A cluster that is not ours, and that has Jaeger, is left as it is. Raises KubeError.
    """
    if shipped.is_theirs(config, kube, NAME):
        return ()
    shipped.need_scope(config, "Jaeger")
    documents = read_manifests(distribution.samples / MANIFEST)
    return apply(kube, [each for each in documents if each["kind"] == "Service"])


def deploy(
    config: LabConfig,
    distribution: Distribution,
    kube: Kube,
    *,
    images: Sequence[str] = (),
    progress: Progress = silent,
) -> tuple[ObjectRef, ...]:
    """Apply the addon and wait until it is Ready; returns what was applied.

    On a cluster that is not ours a Jaeger that is there is used as it is, and nothing is applied. images:
    references of ours; looked up in the cluster when not given (a node reports a new image late, so name it
    where it is known). Raises RolloutError with the cause, KubeError, IstioError for a missing image.
    """
    if shipped.is_theirs(config, kube, NAME):
        shipped.wait_ready(config, kube, NAME, progress)
        return ()
    shipped.need_scope(config, "Jaeger")
    known = tuple(images) or distribution.images
    if config.image_source == "embedded" and not known:
        known = in_cluster(kube)
    refs = shipped.put(kube, NAME, manifest(distribution, config, known))
    shipped.wait_ready(config, kube, NAME, progress)
    return refs


def remove(kube: Kube, refs: Sequence[ObjectRef], *, timeout: float = 60) -> None:
    """Delete what `announce` and `deploy` applied. May run twice. Raises WaitTimeout, KubeError."""
    delete(kube, refs, timeout=timeout)


def port_forward(kube: Kube, namespace: str = SYSTEM_NAMESPACE) -> PortForward:
    """A local port that leads to Jaeger's page and query API."""
    return PortForward(kube, namespace=namespace, port=PORT, service=SERVICE)


def client(forward: PortForward, *, timeout: float = TIMEOUT) -> JaegerClient:
    """A client behind an open port-forward, whose errors name why that leads nowhere. timeout: seconds."""
    return JaegerClient(forward.url, timeout=timeout, why=lambda: shipped.why_unreachable(forward))


def wait_answering(asked: JaegerClient, *, timeout: float, clock: Clock | None = None) -> None:
    """Wait until Jaeger answers queries. Raises WaitTimeout."""
    wait(
        f"Jaeger at {asked.url} to answer",
        asked.services,
        ready=lambda _: True,
        describe=lambda services: f"it knows {len(services)} services",
        timeout=timeout,
        remedy="look at the log of its pod",
        clock=clock,
    )
