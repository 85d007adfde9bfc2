"""A NetworkPolicy for the run's own traffic, where the namespace has some of others that close it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab import manifests
from meshlab.app.metrics_server import MetricsServer
from meshlab.app.room import workload_labels
from meshlab.core.errors import KubeError
from meshlab.istio.control_plane import objects_if_served
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube

Object = dict[str, Any]
API_VERSION, KIND = "networking.k8s.io/v1", "NetworkPolicy"
NAME = "meshlab-own-traffic"
FORBIDDEN = (401, 403)


def own_traffic(kube: Kube, mesh: Mesh, prometheus: MetricsServer | None) -> list[Object]:
    """Make a NetworkPolicy that lets our pods talk to each other, to Istio, to Prometheus and to DNS.

    NetworkPolicies add up, so those of others stay as they are. Whether the cluster enforces them can't be asked; where it
    does not, this one does nothing.

    Args:
        kube: Client of the cluster.
        mesh: Its facts for our namespace.
        prometheus: The mesh's, where it is in the cluster.

    Returns:
        The object; none where no policy of others selects our pods, or where they may not be read.

    Raises:
        KubeError: The API server refuses it for another reason than permissions.
    """
    try:
        there = objects_if_served(kube, API_VERSION, KIND, mesh.namespace)
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        return []
    closing = [each for each in there if each["metadata"]["name"] != NAME and _selects_ours(each)]
    directions = sorted({kind for each in closing for kind in _types(each)})
    if not directions:
        return []
    policy: Object = manifests.read("room-network", NAME=NAME, NAMESPACE=mesh.namespace)
    spec = policy["spec"]
    others = dict.fromkeys((*mesh.istio_namespaces, *([prometheus.namespace] if prometheus else ())))
    peers = [{"podSelector": {}}, *(_namespace(name) for name in others)]
    spec["policyTypes"] = directions
    spec["ingress"] = [{"from": peers}]
    spec["egress"].insert(0, {"to": peers})
    for direction in ("Ingress", "Egress"):
        if direction not in directions:
            del spec[direction.lower()]
    return [policy]


def _selects_ours(policy: Mapping[str, Any]) -> bool:
    selector = (policy.get("spec") or {}).get("podSelector") or {}
    if selector.get("matchExpressions"):
        return True  # one too many allows what is allowed anyway
    wanted = selector.get("matchLabels") or {}
    return any(wanted.items() <= labels.items() for labels in workload_labels())


def _types(policy: Mapping[str, Any]) -> list[str]:
    """Which directions it closes. Where it does not say so: Ingress, and Egress where it has rules for it."""
    spec = policy.get("spec") or {}
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
