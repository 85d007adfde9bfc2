"""Everything of Istio's that a cluster has, by kind.

The same look is taken before an uninstall, where it must find things, and after.
"""

from __future__ import annotations

from typing import Any

from meshlab.istio.control_plane import SIDECAR, objects_if_served
from meshlab.istio.injection import INJECTION_LABEL, REVISION_LABEL
from meshlab.istio.names import SYSTEM_NAMESPACE
from meshlab.kube.client import Kube
from meshlab.kube.pods import summarise

Object = dict[str, Any]
COMPONENT_LABEL = "operator.istio.io/component"  # istioctl puts it on everything that it applies

# Kinds of the whole cluster, and in which name or group Istio shows.
CLUSTER_KINDS: tuple[tuple[str, str, str], ...] = (
    ("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "istio"),
    ("ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "istio"),
    ("ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1", "istio"),
    ("ValidatingAdmissionPolicyBinding", "admissionregistration.k8s.io/v1", "istio"),
    ("CustomResourceDefinition", "apiextensions.k8s.io/v1", ".istio.io"),
    ("ClusterRole", "rbac.authorization.k8s.io/v1", "istio"),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "istio"),
)
# Kinds of a namespace that istioctl may have put outside istio-system.
COMPONENT_KINDS: tuple[tuple[str, str], ...] = (
    ("Deployment", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("Service", "v1"),
    ("ServiceAccount", "v1"),
    ("Role", "rbac.authorization.k8s.io/v1"),
    ("RoleBinding", "rbac.authorization.k8s.io/v1"),
)
NAMESPACE, LABEL, CONFIG_MAP, LEASE, SIDECARS = (
    "Namespace",
    "namespace label",
    "ConfigMap",
    "Lease",
    "sidecar",
)


def istio_inventory(kube: Kube, *, going: bool = True) -> dict[str, tuple[str, ...]]:
    """List all that Istio brings into a cluster.

    Webhooks, admission policies, CRDs, cluster roles and bindings; the namespace istio-system; injection
    labels; the ConfigMaps that istiod writes into every namespace; leases; running sidecars; and what
    istioctl put into any namespace. Every kind is there, empty where nothing was found.

    Args:
        kube: Client of the cluster.
        going: Count what is marked as deleting, too.

    Returns:
        Kind → sorted names (`namespace/name` for what lives in one).

    Raises:
        KubeError: The cluster does not answer.
    """

    def objects(api_version: str, kind: str, selector: str | None = None) -> list[Object]:
        every = objects_if_served(kube, api_version, kind, selector=selector)
        return [each for each in every if going or "deletionTimestamp" not in each["metadata"]]

    def look(api_version: str, kind: str, selector: str | None = None) -> tuple[str, ...]:
        return tuple(sorted(map(_name, objects(api_version, kind, selector))))

    found: dict[str, tuple[str, ...]] = {}
    for kind, api_version, mark in CLUSTER_KINDS:
        found[kind] = tuple(name for name in look(api_version, kind) if mark in name)
    namespaces = objects("v1", "Namespace")
    found[NAMESPACE] = tuple(n for n in map(_name, namespaces) if n == SYSTEM_NAMESPACE)
    found[LABEL] = tuple(sorted(_name(each) for each in namespaces if _injects(each)))
    for kind, api_version in ((CONFIG_MAP, "v1"), (LEASE, "coordination.k8s.io/v1")):
        found[kind] = tuple(name for name in look(api_version, kind) if "/istio-" in name)
    pods = [summarise(pod) for pod in objects("v1", "Pod")]
    found[SIDECARS] = tuple(sorted(f"{p.namespace}/{p.name}" for p in pods if SIDECAR in p.containers))
    for kind, api_version in COMPONENT_KINDS:
        found[kind] = look(api_version, kind, COMPONENT_LABEL)
    return found


def _injects(namespace: Object) -> bool:
    labels = namespace["metadata"].get("labels") or {}
    return INJECTION_LABEL in labels or REVISION_LABEL in labels


def _name(each: Object) -> str:
    meta = each["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])
