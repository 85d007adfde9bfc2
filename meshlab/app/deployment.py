"""Putting objects up in the app's namespace: with the images that the run uses, until their Deployments are Ready."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.app.pod_security import enforces_restricted, restrict
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
    """Give objects the images that the run uses, and what `fitted` gives them.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        documents: The objects.
        known: References of our images; looked up in the cluster when empty.
        clock: Of the wait; the real one where not given.

    Returns:
        The objects.

    Raises:
        IstioError: An image has no replacement among the known ones.
        WaitTimeout: The nodes do not report an image that is needed.
        KubeError: The API server can't be asked.
    """
    fits = fitted(config, documents, restricted=enforces_restricted(kube, config.namespace))
    if config.image_source != "embedded":
        return fits
    if known:
        return replace(fits, known)
    return from_cluster(kube, lambda held: replace(fits, held), clock=clock)


def fitted(
    config: LabConfig,
    documents: Sequence[Mapping[str, Any]],
    *,
    pulled: bool = True,
    restricted: bool = False,
) -> list[dict[str, Any]]:
    """Give objects what the cluster demands of everybody's: labels, where pods may run, and where images come from.

    Args:
        config: The settings of the run.
        documents: The objects.
        pulled: Their images are official ones, and not already those of the cluster.
        restricted: Their namespace takes pods of the Pod Security Standard `restricted` only.

    Returns:
        Copies of the objects; without such settings nothing differs.
    """
    app, found = config.app, [copy.deepcopy(dict(each)) for each in documents]
    for each in found:
        template = each if each["kind"] == "Pod" else (each.get("spec") or {}).get("template")
        if app.labels:
            for labelled in [each, *([template] if template else [])]:
                meta = labelled.setdefault("metadata", {})
                meta["labels"] = {**app.labels, **(meta.get("labels") or {})}
        if not template:
            continue
        spec = template["spec"]
        if restricted:
            restrict(spec)
        if app.scheduling.node_selector:
            spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **app.scheduling.node_selector}
        if app.scheduling.tolerations:
            spec["tolerations"] = [*(spec.get("tolerations") or ()), *map(dict, app.scheduling.tolerations)]
        if app.pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in app.pull_secrets]
        if pulled and app.image_prefix and config.image_source == "official":
            for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
                container["image"] = as_pulled(config, container["image"])
    return found


def as_pulled(config: LabConfig, image: str) -> str:
    """Name an official image as nodes pull it.

    Args:
        config: The settings of the run.
        image: Its official name.

    Returns:
        The name, with `app.image_prefix` in place of its registry where that is set.
    """
    return _from_registry(config.app.image_prefix, image) if config.app.image_prefix else image


def _from_registry(prefix: str, image: str) -> str:
    """The same image from another registry: the first part of a name is a registry where it has a dot or a port."""
    head, slash, rest = image.partition("/")
    registry = bool(slash) and ("." in head or ":" in head or head == "localhost")
    return f"{prefix.rstrip('/')}/{rest if registry else image}"


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
