"""One revision of Istio among several: its name, all of its objects, and how it is taken out of a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshlab.core.errors import IstioError
from meshlab.istio.control_plane import SIDECAR, objects_if_served
from meshlab.istio.injection import REVISION_LABEL, made_by, webhooks_in
from meshlab.istio.inventory import COMPONENT_KINDS, COMPONENT_LABEL, SIDECARS
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.names import DEFAULT_REVISION, ISTIOD, of_revision
from meshlab.kube.apply import ObjectRef, delete
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

Inventory = Mapping[str, tuple[str, ...]]
# istioctl labels all that it applies with the revision that it installs, also what every revision uses (Base, Cni,
# Ztunnel) and what is handed from one to the next (gateways). This component alone is a revision's own.
CONTROL_PLANE, BASE = "Pilot", "Base"
GATEWAY_COMPONENTS = ("IngressGateways", "EgressGateways")
ENDED = (
    "Succeeded",
    "Failed",
)  # phases of a pod: its proxy does not run any more, though the pod is still listed
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
WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
# What `istioctl tag set` writes for a tag, and for the tag default.
TAG_WEBHOOK, TAG_SERVICE, DEFAULT_VALIDATOR = (
    "istio-revision-tag-{}",
    "istiod-revision-tag-{}",
    "istiod-default-validator",
)


def revision_name(version: str) -> str:
    """Name the revision of a version, as Istio's own pages do: 1.31.0 is 1-31-0."""
    return re.sub(r"[^a-z0-9]+", "-", version.lower().removeprefix("v")).strip("-")[:40].strip("-")


def revision_inventory(kube: Kube, revision: str, home: str) -> dict[str, tuple[str, ...]]:
    """List all that belongs to one revision: its control plane's objects, and the pods whose proxies it made.

    What all revisions share is not among it, whatever revision istioctl has labelled it with.

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
            component, labelled = labels.get(COMPONENT_LABEL), labels.get(REVISION_LABEL) == revision
            if component not in (None, CONTROL_PLANE):
                continue
            # Webhooks of tags, and those of Istio's charts, tell no component.
            mine = labelled and (component is not None or (kind in WEBHOOKS and "istio" in meta["name"]))
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
    """List the pods whose proxies a revision made and that still run, gateways included.

    Args:
        kube: Client of the cluster.
        revision: The revision.

    Returns:
        The pods as `namespace/name`, sorted.

    Raises:
        KubeError: They can't be listed.
    """
    return tuple(
        sorted(f"{pod.namespace}/{pod.name}" for pod in running_proxies(kube) if made_by(pod) == revision)
    )


def running_proxies(kube: Kube, namespace: str | None = None) -> list[PodSummary]:
    """List the pods whose proxies run: none that is being deleted, and none that has ended.

    Args:
        kube: Client of the cluster.
        namespace: Where to look; None for all namespaces.

    Returns:
        The pods.

    Raises:
        KubeError: They can't be listed.
    """
    pods = (pod for pod in kube.pods(namespace) if SIDECAR in pod.containers)
    return [pod for pod in pods if not pod.deleting and pod.phase not in ENDED]


def tag_refs(kube: Kube, tags: Sequence[str], home: str) -> tuple[ObjectRef, ...]:
    """Name all that `istioctl tag set` may write: webhooks that are there, and those and the Service of each tag.

    For the tag default it also takes the label istio-injection from the webhooks that answer to it.

    Args:
        kube: Client of the cluster.
        tags: The revision tags.
        home: The namespace of the control planes.

    Returns:
        The objects; some may not be there.

    Raises:
        KubeError: The cluster does not answer.
    """
    mutating, validating = WEBHOOKS
    names = [
        *(
            (mutating, each["metadata"]["name"])
            for each in objects_if_served(kube, ADMISSION, mutating)
            if webhooks_in([each])
        ),
        *((mutating, TAG_WEBHOOK.format(tag)) for tag in tags),
        (validating, DEFAULT_VALIDATOR),
    ]
    services = [ObjectRef("v1", "Service", home, TAG_SERVICE.format(tag)) for tag in tags]
    return tuple(
        dict.fromkeys((*(ObjectRef(ADMISSION, kind, None, name) for kind, name in names), *services))
    )


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
    """Take a control plane out; pods whose proxies it made and what other revisions use are not touched.

    May be called twice.

    Args:
        kube: Client of the cluster.
        revision: The revision.
        home: The namespace of its control plane.
        istioctl: Runs `istioctl uninstall --revision` first; without it the objects are deleted one by one, and so
            they are where istioctl fails, or something shared still has the revision's label: it would take that along.
        timeout: Seconds until all of it is gone.

    Returns:
        What was there, and what is left.

    Raises:
        KubeError: The API server refuses it.
        WaitTimeout: An object does not go; the text names it.
    """
    before = revision_inventory(kube, revision, home)
    output = ""
    if istioctl and not _shared(kube, revision):
        try:
            output = istioctl.uninstall_revision(revision, timeout=timeout)
        except IstioError as problem:
            output = problem.message  # what it has left is deleted here
    left = revision_inventory(kube, revision, home)
    refs = [_ref(kind, name) for kind, names in left.items() if kind != SIDECARS for name in names]
    removed = delete(kube, refs, timeout=timeout)
    return Removal(before, revision_inventory(kube, revision, home), tuple(map(str, removed)), output)


def _shared(kube: Kube, revision: str) -> list[str]:
    """What an installation of the revision labelled as its own, and others use: gateways, Istio CNI, ztunnel."""
    return [
        each["metadata"]["name"]
        for kind, api_version in NAMESPACED
        for each in objects_if_served(kube, api_version, kind, selector=f"{REVISION_LABEL}={revision}")
        if (each["metadata"].get("labels") or {}).get(COMPONENT_LABEL, CONTROL_PLANE)
        not in (CONTROL_PLANE, BASE)
    ]


def istiod_of(revision: str) -> str:
    """Name the Deployment of a revision's control plane."""
    return of_revision(ISTIOD, revision)


def _ref(kind: str, name: str) -> ObjectRef:
    namespace, _, last = name.rpartition("/")
    return ObjectRef(API_VERSIONS[kind], kind, namespace or None, last)
