"""One revision of Istio among several: its name, all of its objects, and how it is taken out of a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from meshlab.istio.control_plane import SIDECAR, objects_if_served
from meshlab.istio.injection import REVISION_LABEL, made_by
from meshlab.istio.inventory import COMPONENT_KINDS, COMPONENT_LABEL, SIDECARS
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.names import DEFAULT_REVISION, ISTIOD, of_revision
from meshlab.kube.apply import ObjectRef, delete
from meshlab.kube.client import Kube

Inventory = Mapping[str, tuple[str, ...]]
# Gateways are handed from one revision to the next: they are no part of the control plane.
GATEWAY_COMPONENTS = ("IngressGateways", "EgressGateways")
ADMISSION, RBAC = "admissionregistration.k8s.io/v1", "rbac.authorization.k8s.io/v1"
CLUSTER_WIDE = (
    ("MutatingWebhookConfiguration", ADMISSION),
    ("ValidatingWebhookConfiguration", ADMISSION),
    ("ClusterRole", RBAC),
    ("ClusterRoleBinding", RBAC),
)
NAMESPACED = (
    *COMPONENT_KINDS,
    ("ConfigMap", "v1"),
    ("PodDisruptionBudget", "policy/v1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2"),
)
API_VERSIONS = dict((*CLUSTER_WIDE, *NAMESPACED))
# What the charts of Istio name by revision and namespace, with or without a label of the revision.
ROLES = ("istiod-clusterrole", "istiod-gateway-controller", "istio-reader-clusterrole")


def revision_name(version: str) -> str:
    """Name the revision of a version, as Istio's own pages do: 1.31.0 is 1-31-0."""
    return re.sub(r"[^a-z0-9]+", "-", version.lower().removeprefix("v")).strip("-")[:40].strip("-")


def revision_inventory(kube: Kube, revision: str, home: str) -> dict[str, tuple[str, ...]]:
    """List all that belongs to one revision: its control plane's objects, and the pods whose proxies it made.

    Args:
        kube: Client of the cluster.
        revision: The revision.
        home: The namespace of its control plane.

    Returns:
        Kind → sorted names (`namespace/name` for what lives in one); every kind is there.

    Raises:
        KubeError: The cluster does not answer.
    """
    found: dict[str, tuple[str, ...]] = {}
    roles = {f"{of_revision(name, revision)}-{home}" for name in ROLES}
    for kind, api_version in (*CLUSTER_WIDE, *NAMESPACED):
        names = []
        for each in objects_if_served(kube, api_version, kind):
            meta = each["metadata"]
            labels = meta.get("labels") or {}
            mine = labels.get(REVISION_LABEL) == revision and (
                "istio" in meta["name"] if "namespace" not in meta else COMPONENT_LABEL in labels
            )
            if labels.get(COMPONENT_LABEL) in GATEWAY_COMPONENTS:
                mine = False
            if mine or meta["name"] in roles or _named_for(meta, revision, home):
                names.append(f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"])
        found[kind] = tuple(sorted(names))
    found[SIDECARS] = proxies_of_revision(kube, revision)
    return found


def _named_for(meta: Mapping[str, str], revision: str, home: str) -> bool:
    """Whether a thing of the control plane's namespace has the name that a control plane gives to its own."""
    if meta.get("namespace") != home:
        return False
    if revision in ("", DEFAULT_REVISION):
        return meta["name"] == ISTIOD
    return meta["name"].startswith("istio") and meta["name"].endswith(f"-{revision}")


def proxies_of_revision(kube: Kube, revision: str) -> tuple[str, ...]:
    """List the pods whose proxies a revision made, gateways included.

    Args:
        kube: Client of the cluster.
        revision: The revision.

    Returns:
        The pods as `namespace/name`, sorted.

    Raises:
        KubeError: They can't be listed.
    """
    pods = [pod for pod in kube.pods(None) if SIDECAR in pod.containers and not pod.deleting]
    return tuple(sorted(f"{pod.namespace}/{pod.name}" for pod in pods if made_by(pod) == revision))


@dataclass(frozen=True)
class Removal:
    """A revision that was taken out. before, after: inventories; removed: `Kind name`. output: what istioctl said."""

    before: Inventory
    after: Inventory
    removed: tuple[str, ...]
    output: str = ""


def remove_revision(
    kube: Kube, revision: str, home: str, istioctl: Istioctl | None = None, *, timeout: float = 120
) -> Removal:
    """Take a control plane out; pods whose proxies it made are not touched.

    May be called twice.

    Args:
        kube: Client of the cluster.
        revision: The revision.
        home: The namespace of its control plane.
        istioctl: Runs `istioctl uninstall --revision` first; without it the objects are deleted one by one.
        timeout: Seconds until all of it is gone.

    Returns:
        What was there, and what is left.

    Raises:
        IstioError: istioctl fails.
        KubeError: The API server refuses it.
        WaitTimeout: An object does not go; the text names it.
    """
    before = revision_inventory(kube, revision, home)
    output = istioctl.uninstall_revision(revision, timeout=timeout) if istioctl else ""
    left = revision_inventory(kube, revision, home)
    refs = [_ref(kind, name) for kind, names in left.items() if kind != SIDECARS for name in names]
    removed = delete(kube, refs, timeout=timeout)
    return Removal(before, revision_inventory(kube, revision, home), tuple(map(str, removed)), output)


def istiod_of(revision: str) -> str:
    """Name the Deployment of a revision's control plane."""
    return of_revision(ISTIOD, revision)


def _ref(kind: str, name: str) -> ObjectRef:
    namespace, _, last = name.rpartition("/")
    return ObjectRef(API_VERSIONS[kind], kind, namespace or None, last)
