"""The Istio that is in a cluster: its control planes, and how a namespace asks them for sidecars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.core.errors import IstioError, KubeError
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.api_errors import api_errors
from meshlab.kube.apply import apply
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

INJECTION_LABEL, REVISION_LABEL = "istio-injection", "istio.io/rev"
DEFAULT_REVISION = "default"
SIDECAR = "istio-proxy"  # the container's name in every injected pod
GATEWAYS = "istio in (ingressgateway, egressgateway)"


@dataclass(frozen=True)
class ControlPlane:
    """One istiod Deployment. revision: `default` unless it was installed under a name of its own."""

    name: str
    namespace: str
    revision: str
    ready: bool


def control_planes(kube: Kube) -> tuple[ControlPlane, ...]:
    """Return every istiod Deployment of the cluster, Ready or not; empty where Istio is not installed."""
    return tuple(
        ControlPlane(
            name=each["metadata"]["name"],
            namespace=each["metadata"]["namespace"],
            revision=(each["metadata"].get("labels") or {}).get(REVISION_LABEL, DEFAULT_REVISION),
            ready=bool(each.get("status", {}).get("readyReplicas")),
        )
        for each in kube.objects("apps/v1", "Deployment", selector="app=istiod")
    )


def with_sidecar(pods: Sequence[PodSummary]) -> list[PodSummary]:
    """Return the pods that have a sidecar and are not being deleted."""
    return [pod for pod in pods if SIDECAR in pod.containers and not pod.deleting]


def objects_if_served(
    kube: Kube, api_version: str, kind: str, namespace: str | None = None, *, selector: str | None = None
) -> list[dict[str, Any]]:
    """List the objects of a kind; a cluster that does not serve the kind (404) has none of it.

    Args:
        kube: Client of the cluster.
        api_version: The kind's group and version, `v1` for the core group.
        kind: For instance EnvoyFilter.
        namespace: Where to look, None for all namespaces.
        selector: A label selector.

    Returns:
        The objects, as the API server gives them.

    Raises:
        KubeError: Any other refusal.
    """
    try:
        return kube.objects(api_version, kind, namespace, selector=selector)
    except KubeError as problem:
        if problem.status == 404:
            return []
        raise


def deployments(kube: Kube) -> tuple[str, ...]:
    """Return names of Istio's own Deployments in istio-system: istiod of every revision, and the gateways."""
    found = {
        each["metadata"]["name"]
        for selector in ("app=istiod", GATEWAYS)
        for each in kube.objects("apps/v1", "Deployment", SYSTEM_NAMESPACE, selector=selector)
    }
    return tuple(sorted(found))


def injection_label(planes: Sequence[ControlPlane]) -> tuple[str, str]:
    """Return key and value of the label with which a namespace asks these control planes for sidecars.

    Raises IstioError where none is there, or where several revisions and none of them the default leave it
    open.
    """
    revisions = sorted({plane.revision for plane in planes})
    if not revisions:
        raise IstioError("the cluster has no istiod", remedy="install Istio first")
    if DEFAULT_REVISION in revisions:
        return INJECTION_LABEL, "enabled"
    if len(revisions) > 1:
        raise IstioError(
            f"several revisions of Istio run ({', '.join(revisions)}) and none is the default",
            remedy="make one the default: istioctl tag set default --revision NAME",
        )
    return REVISION_LABEL, revisions[0]


def label_namespace(kube: Kube, namespace: str) -> str:
    """Make sure that a namespace exists and that pods created in it get a sidecar.

    Args:
        kube: Client of the cluster.
        namespace: Its name.

    Returns:
        The label, `key=value`.

    Raises:
        IstioError: No control plane serves it.
        KubeError: The API server refuses it.
    """
    key, value = injection_label(control_planes(kube))
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {key: value}},
    }
    apply(kube, [document])
    return f"{key}={value}"


def unlabel_namespace(kube: Kube, namespace: str) -> None:
    """Take both injection labels off a namespace; one that is gone needs none.

    Args:
        kube: Client of the cluster.
        namespace: Its name.

    Raises:
        KubeError: The API server refuses it.
    """
    if kube.get("v1", "Namespace", namespace) is None:
        return
    patch = {"metadata": {"labels": {INJECTION_LABEL: None, REVISION_LABEL: None}}}
    with api_errors(f"take Istio's labels off namespace {namespace}"):
        kube.core.patch_namespace(namespace, patch)
