"""The Istio that is in a cluster: its control planes, and how a namespace asks them for sidecars."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.core.errors import IstioError, KubeError
from meshlab.istio.injection import API_VERSION, KIND, Webhook, asked_for, tags_of, webhooks_in
from meshlab.istio.injection import INJECTION_LABEL as INJECTION_LABEL  # others import it from here
from meshlab.istio.injection import REVISION_LABEL as REVISION_LABEL
from meshlab.istio.names import DEFAULT_REVISION, ISTIOD_SELECTOR, SYSTEM_NAMESPACE
from meshlab.kube.api_errors import api_errors
from meshlab.kube.apply import apply
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

SIDECAR = "istio-proxy"  # the container's name in every injected pod
VERSION_LABEL = "operator.istio.io/version"  # istioctl puts it on everything that it applies
VERSION = re.compile(r"v?\d+\.\d+\.")
FORBIDDEN = (401, 403)
GATEWAYS = "istio in (ingressgateway, egressgateway)"


@dataclass(frozen=True)
class ControlPlane:
    """One istiod Deployment.

    Attributes:
        name: Of the Deployment, and of its Service and account.
        namespace: Where it is.
        revision: `default` unless it was installed under a name of its own.
        ready: A pod of it is Ready.
        tags: The revision tags that point at it.
        version: Of Istio, as the Deployment tells it; empty where it does not.
        selector: Label selector of its pods.
    """

    name: str
    namespace: str
    revision: str
    ready: bool
    tags: tuple[str, ...] = ()
    version: str = ""
    selector: str = ISTIOD_SELECTOR


def control_planes(kube: Kube) -> tuple[ControlPlane, ...]:
    """Return every istiod Deployment of the cluster, Ready or not; empty where Istio is not installed.

    An account that may not read webhooks is told no tags.
    """
    found = kube.objects("apps/v1", "Deployment", selector=ISTIOD_SELECTOR)
    try:
        webhooks = webhooks_in(objects_if_served(kube, API_VERSION, KIND)) if found else ()
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        webhooks = ()
    return control_planes_of(found, webhooks)


def control_planes_of(
    deployments: Sequence[Mapping[str, Any]], webhooks: Sequence[Webhook]
) -> tuple[ControlPlane, ...]:
    """Describe control planes.

    Args:
        deployments: Their Deployments.
        webhooks: Istio's injection webhooks of the cluster, which tell the tags.

    Returns:
        One for each Deployment.
    """
    found = []
    for each in deployments:
        meta, spec = each["metadata"], each.get("spec") or {}
        labels = meta.get("labels") or {}
        revision = labels.get(REVISION_LABEL, DEFAULT_REVISION)
        selected = (spec.get("selector") or {}).get("matchLabels") or {}
        found.append(
            ControlPlane(
                name=meta["name"],
                namespace=meta["namespace"],
                revision=revision,
                ready=bool(each.get("status", {}).get("readyReplicas")),
                tags=tags_of(webhooks, revision, meta["namespace"]),
                version=_version(labels, spec),
                selector=",".join(f"{key}={value}" for key, value in selected.items()) or ISTIOD_SELECTOR,
            )
        )
    return tuple(found)


def _version(labels: Mapping[str, str], spec: Mapping[str, Any]) -> str:
    """Of the label of what installed it, else of the image's tag, else of the chart."""
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    image = str(containers[0].get("image", "")).partition("@")[0].rpartition("/")[2]
    told = labels.get(VERSION_LABEL), image.partition(":")[2], labels.get("app.kubernetes.io/version")
    return next((each for each in told if each and VERSION.match(each)), "")


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


def is_istiod(pod: PodSummary) -> bool:
    """Tell whether a pod is an istiod, of any revision: all of Istio's charts give it this label."""
    key, _, value = ISTIOD_SELECTOR.partition("=")
    return pod.labels.get(key) == value


def istiod_pods(kube: Kube) -> list[PodSummary]:
    """List the Ready pods of every control plane, wherever it runs. Raises KubeError."""
    return [pod for pod in kube.pods(None, ISTIOD_SELECTOR) if pod.is_ready and not pod.deleting]


def deployments(kube: Kube) -> dict[str, tuple[str, ...]]:
    """Find Istio's own Deployments: istiod of every revision, and the gateways beside one.

    Args:
        kube: Client of the cluster.

    Returns:
        Namespace → names, sorted; empty where there is no istiod.

    Raises:
        KubeError: The API server refuses it.
    """
    homes = sorted({each.namespace for each in control_planes(kube)})
    return {
        home: tuple(
            sorted(
                each["metadata"]["name"]
                for selector in (ISTIOD_SELECTOR, GATEWAYS)
                for each in kube.objects("apps/v1", "Deployment", home, selector=selector)
            )
        )
        for home in homes
    }


def to_name(planes: Sequence[ControlPlane]) -> tuple[tuple[str, str], ...]:
    """Tell which control planes istioctl has to be told: it looks in one namespace, for the default revision alone.

    Args:
        planes: The cluster's.

    Returns:
        Revision and namespace of each that runs, or of all where none does; empty where istioctl finds the only one.
    """
    named = [
        (each.revision, each.namespace) for each in planes if each.ready or not any(p.ready for p in planes)
    ]
    return () if named == [(DEFAULT_REVISION, SYSTEM_NAMESPACE)] else tuple(named)


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
    if len(revisions) == 1:
        return REVISION_LABEL, revisions[0]
    if any(DEFAULT_REVISION in plane.tags for plane in planes):
        return INJECTION_LABEL, "enabled"
    raise IstioError(
        f"several revisions of Istio run ({', '.join(revisions)}) and none is the default",
        remedy="label the app's namespace yourself (istio.io/rev=NAME), or make one the default: "
        "istioctl tag set default --revision NAME",
    )


def asking_label(planes: Sequence[ControlPlane], labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Find the label with which a namespace asks one of these control planes for sidecars already.

    Args:
        planes: The cluster's.
        labels: The namespace's.

    Returns:
        Key and value; None where it asks for none, or for one that is not there.
    """
    asked = asked_for(labels)
    if asked is None or all(asked not in (plane.revision, *plane.tags) for plane in planes):
        return None
    key = INJECTION_LABEL if INJECTION_LABEL in labels else REVISION_LABEL
    return key, labels[key]


def label_namespace(kube: Kube, namespace: str, *, own: Mapping[str, str] | None = None) -> str:
    """Make sure that a namespace exists and that pods created in it get a sidecar.

    A label that is there and asks a control plane of the cluster stays as it is, and so does everything else of a
    namespace that is there: it is somebody's.

    Args:
        kube: Client of the cluster.
        namespace: Its name.
        own: Labels that it gets, too, where the run made it; none for one of somebody's.

    Returns:
        The label, `key=value`.

    Raises:
        IstioError: No control plane serves it.
        KubeError: The API server refuses it.
    """
    planes = control_planes(kube)
    there = kube.get("v1", "Namespace", namespace)
    labels = ((there or {}).get("metadata") or {}).get("labels") or {}
    key, value = asking_label(planes, labels) or injection_label(planes)
    wanted = {**(own or {}), key: value}
    if there is None:
        meta = {"name": namespace, "labels": wanted}
        apply(kube, [{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}])
    elif not wanted.items() <= labels.items():
        kube.patch("v1", "Namespace", namespace, {"metadata": {"labels": wanted}})
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
