"""Putting objects up in the app's namespace: with the images that the run uses, until their Deployments are Ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.progress import Progress, silent
from meshlab.core.waiting import Clock
from meshlab.istio.images import from_cluster, replace
from meshlab.istio.sidecars import restart_unmeshed
from meshlab.kube.apply import ObjectRef, apply
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments


def with_images(
    kube: Kube,
    config: LabConfig,
    documents: Sequence[Mapping[str, Any]],
    known: Sequence[str],
    *,
    clock: Clock | None = None,
) -> list[dict[str, Any]]:
    """Replace the images of pods by those of the embedded distribution, where the run uses them.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        documents: The objects.
        known: References of our images; looked up in the cluster when empty.
        clock: Of the wait; the real one where not given.

    Returns:
        The objects; nothing but images differs.

    Raises:
        IstioError: An image has no replacement among the known ones.
        WaitTimeout: The nodes do not report an image that is needed.
        KubeError: The API server can't be asked.
    """
    if config.image_source != "embedded":
        return [dict(each) for each in documents]
    if known:
        return replace(documents, known)
    return from_cluster(kube, lambda held: replace(documents, held), clock=clock)


def put_up(
    kube: Kube,
    config: LabConfig,
    documents: Sequence[Mapping[str, Any]],
    images: Sequence[str],
    *,
    unmeshed: Sequence[str] = (),
    progress: Progress = silent,
    clock: Clock | None = None,
) -> tuple[ObjectRef, ...]:
    """Apply objects in the app's namespace, and wait until their Deployments are Ready.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        documents: The objects, with official images.
        images: References of our images; looked up in the cluster when empty.
        unmeshed: Label selectors; their pods are restarted where they lack a sidecar.
        progress: Told how far it came.
        clock: Of the waits; the real one where not given.

    Returns:
        What was applied.

    Raises:
        RolloutError: Something does not get Ready; its text names the cause.
        IstioError: An image has no replacement.
        WaitTimeout: It took too long.
        KubeError: The API server refuses an object.
    """
    wanted = with_images(kube, config, documents, images, clock=clock)
    refs = apply(kube, wanted, namespace=config.namespace)
    timeout = config.app.rollout_timeout
    if unmeshed:
        restart_unmeshed(kube, config.namespace, unmeshed, timeout=timeout)
    names = [each["metadata"]["name"] for each in wanted if each["kind"] == "Deployment"]
    wait_deployments(kube, config.namespace, names, timeout=timeout, progress=progress, clock=clock)
    return refs
