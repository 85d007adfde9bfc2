"""Installs a further revision of Istio beside the one that runs, and hands the gateways over to it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError
from meshlab.core.progress import Progress, silent
from meshlab.istio import operator_file
from meshlab.istio.control_plane import objects_if_served
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import from_cluster
from meshlab.istio.install import apply_operator, operator_document
from meshlab.istio.inventory import COMPONENT_LABEL
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.istio.names import ISTIOD_SELECTOR, SYSTEM_NAMESPACE
from meshlab.istio.revision import API_VERSIONS, GATEWAY_COMPONENTS, NAMESPACED
from meshlab.istio.upgrade import UpgradePlan
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube

GATEWAYS = {
    "ingressGateways": "istio-ingressgateway",
    "egressGateways": "istio-egressgateway",
}  # of the profiles


def install_revision(
    config: LabConfig,
    distribution: Distribution,
    kube: Kube,
    istioctl: Istioctl,
    plan: UpgradePlan,
    mesh: Mesh,
    *,
    gateways: bool,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Install the control plane of a new revision, with the mesh configuration of the old one; or its gateways, too.

    Args:
        config: The settings of the run.
        distribution: Istio's istioctl and samples, of the new version.
        kube: Client of the cluster.
        istioctl: Runs it on the mesh.
        plan: The upgrade.
        mesh: The facts of the mesh, as the old revision serves it.
        gateways: Take over the gateways that are there, each by a roll-out of its Deployment.
        progress: Gets what is being done.
        stop: Ends istioctl when it is set.

    Returns:
        The IstioOperator.

    Raises:
        InputError: The operator file is bad.
        IstioError: istioctl fails, or the old revision runs elsewhere than this lab installs Istio.
        RolloutError: Something does not get Ready; the text names the cause.
    """
    if plan.home != SYSTEM_NAMESPACE:
        raise IstioError(
            f"revision {plan.old} runs in {plan.home}, and this lab installs Istio in {SYSTEM_NAMESPACE}",
            remedy="upgrade it with what installed it",
        )
    if distribution.embedded and not distribution.images:
        # A cluster that holds two builds: what runs there now is the old one.
        running = _images_of(kube, plan)
        document = from_cluster(
            kube,
            lambda held: operator_document(
                config, distribution, [each for each in held if each.rpartition(":")[2] not in running]
            )[0],
        )
    else:
        document, _ = operator_document(config, distribution, distribution.images)
    wanted = of_revision(document, plan, mesh, [ref.name for ref in plan.gateways] if gateways else [])
    apply_operator(config, wanted, kube, istioctl, progress=progress, stop=stop)
    return wanted


def of_revision(
    document: Mapping[str, Any], plan: UpgradePlan, mesh: Mesh, gateways: Sequence[str]
) -> dict[str, Any]:
    """Make of an IstioOperator the one of a further revision.

    Args:
        document: The IstioOperator that a first installation would get.
        plan: The upgrade.
        mesh: The facts of the mesh; what the document does not say of its configuration stays as it is.
        gateways: Names of those that it takes over; it brings no others.

    Returns:
        The IstioOperator.
    """
    found = copy.deepcopy(dict(document))
    spec = found["spec"]
    spec["revision"] = plan.new
    own, old = spec.get("meshConfig") or {}, copy.deepcopy(dict(mesh.config))
    defaults = {**(old.get("defaultConfig") or {}), **(own.get("defaultConfig") or {})}
    defaults.pop("discoveryAddress", None)  # the old revision's
    spec["meshConfig"] = {**old, **own, **({"defaultConfig": defaults} if defaults else {})}
    components = dict(operator_file.at(found, "spec.components") or {})
    for kind, name in GATEWAYS.items():
        listed = {each["name"]: each for each in components.get(kind) or [] if each.get("name")}
        names = dict.fromkeys((name, *listed))
        components[kind] = [
            {**listed.get(each, {}), "name": each, "enabled": each in gateways} for each in names
        ]
    spec["components"] = components
    return found


def gateway_refs(kube: Kube, plan: UpgradePlan) -> tuple[ObjectRef, ...]:
    """List all objects of the gateways that istioctl installed: an installation with gateways changes them.

    Args:
        kube: Client of the cluster.
        plan: The upgrade.

    Returns:
        The objects.

    Raises:
        KubeError: The cluster does not answer.
    """
    return tuple(
        ObjectRef(API_VERSIONS[kind], kind, plan.home, each["metadata"]["name"])
        for kind, api_version in NAMESPACED
        for each in objects_if_served(kube, api_version, kind, plan.home)
        if (each["metadata"].get("labels") or {}).get(COMPONENT_LABEL) in GATEWAY_COMPONENTS
    )


def _images_of(kube: Kube, plan: UpgradePlan) -> set[str]:
    """Tags of the images that the pods of the old control plane run."""
    pods = kube.pods(plan.home, ISTIOD_SELECTOR)
    return {image.rpartition(":")[2] for pod in pods for image in pod.images.values()}
