"""Installs Istio, or uses the one that is there: check, act, verify.

Everything that configures the mesh is in place before this returns, so that pods are born with their final
configuration: a listener that changes later loses its counters.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshlab import manifests
from meshlab.errors import IstioError
from meshlab.istio import operator_file, overlay, profiles
from meshlab.istio.control_plane import control_planes, deployments, label_namespace
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import hub_and_tag, in_cluster
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.operator_file import API_VERSION, KIND, SYSTEM_NAMESPACE
from meshlab.istio.uninstall import uninstall
from meshlab.kube.apply import apply
from meshlab.kube.client import Kube
from meshlab.kube.diagnosis import explain
from meshlab.kube.rollout import wait_deployments
from meshlab.progress import Progress, Update, silent
from meshlab.settings import LabConfig

__all__ = ["InstallResult", "install", "label_namespace", "operator_document", "uninstall"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InstallResult:
    """What runs now. reused: it was there before and was left as it is.

    profile: empty where reused. deployments: Istio's own, all Ready. overridden: settings of the user's that
    gave way to what the embedded distribution needs. operator: the IstioOperator that was applied over the
    profile. seconds: of the whole step.
    """

    reused: bool
    profile: str
    deployments: tuple[str, ...]
    overridden: tuple[str, ...] = ()
    operator: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def install(
    config: LabConfig,
    distribution: Distribution,
    kube: Kube,
    istioctl: Istioctl,
    *,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> InstallResult:
    """Bring up Istio as the settings ask, and wait until it is Ready.

    On a cluster that is not ours an Istio that is there is used and never touched. On ours it is applied
    again, which changes nothing where nothing differs and completes what an interrupted run left half done.
    Raises InputError for a bad operator file, IstioError with the cause found in the cluster, RolloutError,
    KubeError.
    """
    start = time.monotonic()
    if not config.ours and control_planes(kube):
        log.info("using the Istio that the cluster has")
        names = _wait_ready(config, kube, progress)
        return InstallResult(True, "", names, seconds=time.monotonic() - start)
    images = distribution.images or (in_cluster(kube) if distribution.ours else ())
    document, overridden = operator_document(config, distribution, images)
    for line in overridden:
        log.warning("%s", line)
    try:
        istioctl.install(
            document=document,
            timeout=config.istio.install_timeout,
            on_line=lambda line: _tell(line, progress),
            stop=stop,
        )
    except IstioError as problem:
        cause = explain(kube, SYSTEM_NAMESPACE)
        if not cause:
            raise
        raise IstioError(
            f"{problem.message}; {cause}", remedy=problem.remedy, retryable=problem.retryable
        ) from problem
    if distribution.ours:
        apply(kube, [manifests.read("telemetry-envoyfilter")])
    names = _wait_ready(config, kube, progress)
    profile = document["spec"]["profile"]
    return InstallResult(False, profile, names, overridden, document, time.monotonic() - start)


def operator_document(
    config: LabConfig, distribution: Distribution, images: Iterable[str] = ()
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The IstioOperator that the settings ask for, and a line per setting of the user's that gave way.

    images: references of our images; only the embedded distribution needs them. Raises InputError,
    IstioError.
    """
    path = config.istio.operator_file
    document: dict[str, Any] = operator_file.read(path) if path else {"apiVersion": API_VERSION, "kind": KIND}
    spec = document["spec"] = document.get("spec") or {}
    profile = spec["profile"] = profiles.chosen(config, document)
    if not distribution.ours:
        return document, ()
    needed = manifests.read("embedded-operator")
    mesh = spec.setdefault("meshConfig", {})
    inner = operator_file.at(document, "spec.values.meshConfig") or {}
    if "extensionProviders" not in mesh and "extensionProviders" not in inner:
        # A list of ours would replace the profile's, so the profile's comes first.
        mesh["extensionProviders"] = profiles.extension_providers(distribution.profile_values, profile)
    defaults = mesh.setdefault("defaultConfig", {})
    if config.tuned:
        # A preference, not a need: the user's own value stays.
        defaults.setdefault("drainDuration", f"{config.istio.drain_seconds}s")
    hub, tag = hub_and_tag(images)
    merged = overlay.merge(document, needed, hub=hub, tag=tag)
    return merged.document, merged.overridden


def _tell(line: str, progress: Progress) -> None:
    """Pass on istioctl's steps, not its ship."""
    text = line.strip()
    if text.startswith(("-", "✔", "✘", "!")):
        progress(Update("install Istio", detail=text.lstrip("- ")))


def _wait_ready(config: LabConfig, kube: Kube, progress: Progress) -> tuple[str, ...]:
    names = deployments(kube)
    if not names:
        raise IstioError(
            f"no istiod is in {SYSTEM_NAMESPACE}",
            remedy=f"this lab looks for Istio in {SYSTEM_NAMESPACE}: install it there",
        )
    return wait_deployments(
        kube, SYSTEM_NAMESPACE, names, timeout=config.istio.install_timeout, progress=progress
    )
