"""Installs Istio, or uses the one that is there: check, act, verify.

Everything that configures the mesh is in place before this returns, so that pods start with their final
configuration: a listener that changes later loses its counters.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from meshlab import manifests
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.istio import node_agent, operator_file, overlay, profiles, registries
from meshlab.istio.control_plane import control_planes, deployments
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import cni_tag, from_cluster, hub_and_tag
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.names import CLUSTER_DOMAIN, SYSTEM_NAMESPACE
from meshlab.istio.operator_file import API_VERSION, KIND
from meshlab.kube.apply import ObjectRef, apply
from meshlab.kube.client import Kube
from meshlab.kube.diagnosis import explain
from meshlab.kube.rollout import CauseWatch, wait_deployments

log = logging.getLogger(__name__)
GRACE = 60.0  # seconds that istioctl gets to end by itself, past the timeout that it was given


@dataclass(frozen=True)
class InstallResult:
    """What runs now. reused: it was there before and was left as it is.

    profile: empty where reused. deployments: Istio's own, all Ready; `namespace/name` outside of istio-system.
    overridden: settings of the user's that were replaced by what the embedded distribution needs. operator: the
    IstioOperator that was applied over the profile. seconds: of the whole step.
    """

    reused: bool
    profile: str
    deployments: tuple[str, ...]
    overridden: tuple[str, ...] = ()
    operator: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """The Deployments."""
        pairs = (each.rpartition("/") for each in self.deployments)
        return tuple(
            ObjectRef("apps/v1", "Deployment", home or SYSTEM_NAMESPACE, name) for home, _, name in pairs
        )


def install(
    config: LabConfig,
    distribution: Distribution,
    kube: Kube,
    istioctl: Istioctl,
    *,
    begun: bool = False,
    progress: Progress = silent,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> InstallResult:
    """Bring up Istio as the settings ask, and wait until it is Ready.

    On a cluster that the run did not create, an Istio that is there is used and never changed, unless this
    run has begun to install it. On a cluster that the run created it is applied again, which changes nothing
    where nothing differs, and completes what an interrupted run left half done.

    Args:
        config: The settings of the run.
        distribution: Istio's istioctl and samples.
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        begun: This run has begun to install it before.
        progress: Gets what is being done.
        stop: Ends istioctl when it is set.
        clock: Of the wait; the machine's where not given.

    Returns:
        What was installed.

    Raises:
        InputError: The operator file is bad.
        IstioError: istioctl fails; its text names the cause found in the cluster.
        RolloutError: Something does not get Ready.
    """
    start = time.monotonic()
    if not begun and has_external_istio(config, kube):
        log.info("using the Istio that the cluster has")
        names = _wait_ready(config, kube, progress, clock)
        return InstallResult(True, "", names, seconds=time.monotonic() - start)
    if distribution.embedded and not distribution.images:
        document, overridden = from_cluster(
            kube, lambda held: operator_document(config, distribution, held), clock=clock
        )
    else:
        document, overridden = operator_document(config, distribution, distribution.images)
    for line in overridden:
        log.warning("%s", line)
    apply_operator(config, document, kube, istioctl, progress=progress, stop=stop)
    if distribution.embedded:
        apply(kube, _metrics(config, document))
    names = _wait_ready(config, kube, progress, clock)
    profile = document["spec"]["profile"]
    return InstallResult(False, profile, names, overridden, document, time.monotonic() - start)


def has_external_istio(config: LabConfig, kube: Kube) -> bool:
    """Tell whether the cluster has an Istio that others have installed.

    Args:
        config: The settings of the run.
        kube: Client of the cluster.

    Returns:
        True where it has.

    Raises:
        KubeError: The cluster does not answer.
    """
    return not config.ours and bool(control_planes(kube))


def apply_operator(
    config: LabConfig,
    document: dict[str, Any],
    kube: Kube,
    istioctl: Istioctl,
    *,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> None:
    """Run `istioctl install`, and end it as soon as a pod has a cause that doesn't heal.

    istioctl itself looks at none.

    Args:
        config: The settings of the run.
        document: The IstioOperator.
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        progress: Gets what is being done.
        stop: Ends istioctl when it is set.

    Raises:
        IstioError: istioctl fails; its text names the cause found in the cluster.
        RolloutError: A pod has a cause that does not heal.
    """
    timeout = config.istio.install_timeout
    ending = threading.Event()
    watch = CauseWatch(kube, SYSTEM_NAMESPACE, SystemClock())

    def hopeless(done: bool) -> MeshlabError | None:
        if done:
            return None
        if stop is not None and stop.is_set():
            return IstioError("the installation was stopped", remedy="start the run again")
        return watch.verdict(kube.objects("apps/v1", "Deployment", SYSTEM_NAMESPACE))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="istioctl") as pool:
        running = pool.submit(
            istioctl.install,
            document,
            timeout=timeout,
            on_line=lambda line: _tell(line, progress),
            stop=ending,
        )
        try:
            deadline = timeout + GRACE
            wait("istioctl install", running.done, ready=bool, error=hopeless, timeout=deadline, delay=0.2)
        finally:
            ending.set()
    try:
        running.result()
    except IstioError as problem:
        cause = explain(kube, SYSTEM_NAMESPACE)
        message = f"{problem.message}; {cause}" if cause else problem.message
        raise IstioError(message, remedy=problem.remedy, retryable=problem.retryable) from problem


def operator_document(
    config: LabConfig, distribution: Distribution, images: Iterable[str] = ()
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make the IstioOperator that the settings ask for.

    Args:
        config: The settings of the run.
        distribution: The build of Istio.
        images: References of the images that the cluster holds; only the embedded distribution needs them.

    Returns:
        The IstioOperator, and a line per setting of the user's that was replaced.

    Raises:
        InputError: The operator file is wrong.
        IstioError: The images are not there.
    """
    path = config.istio.operator_file
    document: dict[str, Any] = operator_file.read(path) if path else {"apiVersion": API_VERSION, "kind": KIND}
    spec = document["spec"] = document.get("spec") or {}
    profile = spec["profile"] = profiles.chosen(config, document)
    domain = _cluster_domain(config, document)
    if not distribution.embedded:
        brought = config.cluster == "local" and config.local.pull == "never"  # under the release's own names
        hub = None if brought else registries.hub_for(distribution.version, document)
        if hub is not None:  # that release's own default is being switched off
            spec["hub"] = hub
        if config.cluster == "local":  # its nodes have no way out
            _set(document, "spec.values.global.imagePullPolicy", "IfNotPresent")
        return document, ()
    needed = manifests.read("embedded-operator", CLUSTER_DOMAIN=domain)
    mesh = spec.setdefault("meshConfig", {})
    inner = operator_file.at(document, "spec.values.meshConfig") or {}
    if "extensionProviders" not in mesh and "extensionProviders" not in inner:
        # This list replaces the profile's, so the profile's entries come first.
        mesh["extensionProviders"] = profiles.extension_providers(distribution.profile_values, profile)
    defaults = mesh.setdefault("defaultConfig", {})
    if config.tuned:
        # A preference, not a need: the user's own value stays.
        defaults.setdefault("drainDuration", f"{config.istio.drain_seconds}s")
    hub, tag = hub_and_tag(images)
    merged = overlay.merge(document, needed, hub=hub, tag=tag)
    if config.cluster == "local" and config.local.cni:
        node_agent.ask_for(merged.document, cni_tag(images))
    return merged.document, merged.overridden


def _cluster_domain(config: LabConfig, document: dict[str, Any]) -> str:
    """The domain that istiod is told: the local cluster's own, else the operator file's, else Kubernetes'."""
    path = "spec.values.global.proxy.clusterDomain"
    own = config.local.cluster_domain
    if config.cluster != "local" or own == CLUSTER_DOMAIN:
        return str(operator_file.at(document, path) or CLUSTER_DOMAIN)
    _set(document, path, own)
    return own


def _set(document: dict[str, Any], path: str, value: str) -> None:
    *above, last = path.split(".")
    holder = document
    for key in above:
        inner = holder.get(key) or {}
        holder[key] = inner
        holder = inner
    holder[last] = value


def _metrics(config: LabConfig, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What makes the standard metrics: in the mesh's root namespace, so that it holds for every proxy."""
    root = str(operator_file.at(document, "spec.meshConfig.rootNamespace") or SYSTEM_NAMESPACE)
    found = [manifests.read("telemetry-envoyfilter", ROOT_NAMESPACE=root)]
    if root != SYSTEM_NAMESPACE and config.ours:  # nobody else makes it
        found.insert(0, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": root}})
    return found


def _tell(line: str, progress: Progress) -> None:
    """Pass on the lines of istioctl's output that name a step."""
    text = line.strip()
    if text.startswith(("-", "✔", "✘", "!")):
        progress(Update("install Istio", detail=text.lstrip("- ")))


def _wait_ready(config: LabConfig, kube: Kube, progress: Progress, clock: Clock | None) -> tuple[str, ...]:
    """Istio's Deployments, once all are Ready."""
    found = deployments(kube)
    if not found:
        raise IstioError(
            "the cluster has no istiod", remedy="install Istio, or allow changes: --allow-changes"
        )
    timeout = config.istio.install_timeout
    for home, names in found.items():
        wait_deployments(kube, home, names, timeout=timeout, progress=progress, clock=clock)
    return tuple(
        name if home == SYSTEM_NAMESPACE else f"{home}/{name}"
        for home, names in found.items()
        for name in names
    )
