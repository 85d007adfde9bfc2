"""NetworkPolicies for the run's own traffic, where the namespace has some of others that close it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import SLEEPER, WORKLOADS
from meshlab.app.room import hosts_inside, pod_labels
from meshlab.app.traffic_clients import TCP_ECHO
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.istio.control_plane import objects_if_served
from meshlab.istio.gateway_api import OWN_GATEWAY, OWN_GATEWAY_ACCOUNT
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube

Object = dict[str, Any]
API_VERSION, KIND = "networking.k8s.io/v1", "NetworkPolicy"
INGRESS, EGRESS = "Ingress", "Egress"
NAME = "meshlab-own-traffic"  # begins the names of ours
APP, GATEWAY = "app", "gateway.networking.k8s.io/gateway-name"  # labels by which our pods are told
CANONICAL, HASH = "service.istio.io/canonical-name", "pod-template-hash"  # labels that pods get later
BEYOND = "meshlab-outside"  # the namespace of the egress checks' destination, where a run may make it one
# The label `app` of all other pods that a run may bring into its namespace. NetworkPolicies are there before the pods,
# so these are named; a test compares them with the modules that bring them.
LATER = (
    "plaintext-caller",
    "details-outside",
    "meshlab-mtls-probe",
    "meshlab-mtls-probe-client",
    "authz-as-productpage",
    "authz-as-reviews",
    "meshlab-outside",
    "meshlab-bypass",
    "meshlab-jwks",
    "meshlab-job",
    "meshlab-load",
    "meshlab-load-warmup",
)
FORBIDDEN = (401, 403)
UNKNOWN_SCRAPER = (
    "NetworkPolicies close the namespace, and prometheus.url does not tell from where in the cluster Prometheus scrapes: "
    f"where it does, set prometheus.service instead, or let it in by a NetworkPolicy beside {NAME}-ingress"
)


def own_traffic(kube: Kube, mesh: Mesh, config: LabConfig, scraping: str = "") -> list[Object]:
    """Make NetworkPolicies that let our pods talk to each other, to Istio and what it has them call, to Prometheus and DNS.

    NetworkPolicies add up, so those of others stay as they are; but the first one that selects a pod closes it to all else,
    so ours select only pods of ours that are closed already, each direction by itself. Whether the cluster enforces them
    can't be asked; where it does not, ours do nothing.

    Args:
        kube: Client of the cluster.
        mesh: Its facts for our namespace.
        config: The settings of the run.
        scraping: The namespace of the Prometheus that scrapes our pods; "" where it is not known.

    Returns:
        The objects; none where no policy of others selects our pods, or where they may not be read.

    Raises:
        KubeError: The API server refuses it for another reason than permissions.
    """
    try:
        there = objects_if_served(kube, API_VERSION, KIND, mesh.namespace)
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        return []
    others = [each for each in there if not each["metadata"]["name"].startswith(NAME)]
    pods = _own_pods(config)
    istio = [*mesh.istio_namespaces, *([scraping] if scraping else [])]
    # Sidecars send spans and access logs, and ask authorizers: whatever the mesh's providers are.
    called = [host.split(".")[1] for host in hosts_inside((each.service for each in mesh.providers), mesh)]
    ours = [{"podSelector": each} for each in _selectors(pods).values()]
    found = []
    for direction, spaces in ((INGRESS, istio), (EGRESS, [*istio, *called])):
        closing = [each for each in others if direction in directions(each)]
        closed = [labels for labels in pods if any(_may_select(each, labels) for each in closing)]
        peers = [*ours, *(_namespace(name) for name in dict.fromkeys(spaces))]
        found += [
            _policy(f"{NAME}{part}-{direction.lower()}", mesh.namespace, direction, selector, peers)
            for part, selector in _selectors(closed).items()
        ]
        # Only the caller of the egress checks: others that got there would be ways around the egress gateway.
        if direction == EGRESS and config.scope == "mesh":
            found += [
                _policy(f"{NAME}-outside-egress", mesh.namespace, EGRESS, selector, [_namespace(BEYOND)])
                for selector in _selectors([each for each in closed if each.get(APP) == SLEEPER.app]).values()
            ]
    return found


def directions(policy: Mapping[str, Any]) -> Sequence[str]:
    """Tell which directions a NetworkPolicy closes.

    Args:
        policy: The NetworkPolicy.

    Returns:
        Those that it names; else Ingress, and Egress where it has rules for it.
    """
    spec = policy.get("spec") or {}
    return spec.get("policyTypes") or [INGRESS, *([EGRESS] if spec.get("egress") else [])]


def _own_pods(config: LabConfig) -> list[dict[str, str]]:
    """The labels of all pods of a run."""
    found = [pod_labels(each, config) for each in (*WORKLOADS, TCP_ECHO)]
    found += [{**config.app.labels, APP: name} for name in LATER]
    if config.security.gateway_api and config.scope == "mesh":
        found.append({**config.app.labels, GATEWAY: OWN_GATEWAY})  # Istio makes these pods, and labels them
    return found


def _selectors(pods: Sequence[Mapping[str, str]]) -> dict[str, Object]:
    """Selectors of given pods of ours: a part of the policy's name → the selector. There is no label that all have."""
    found = {}
    gateways = [labels for labels in pods if GATEWAY in labels]
    for part, key, told in (
        ("", APP, [labels for labels in pods if labels not in gateways]),
        ("-gateway", GATEWAY, gateways),
    ):
        if values := sorted({labels[key] for labels in told}):
            found[part] = {"matchExpressions": [{"key": key, "operator": "In", "values": values}]}
    return found


def _may_select(policy: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether it selects a pod of ours, as far as its labels are known: injection and controllers add some."""
    selector = (policy.get("spec") or {}).get("podSelector") or {}
    wanted = selector.get("matchLabels") or {}
    return all(_may_be(key, [value], labels) for key, value in wanted.items()) and all(
        _may_meet(term, labels) for term in selector.get("matchExpressions") or ()
    )


def _may_meet(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = str(term["key"]), str(term["operator"]), term.get("values") or ()
    if operator == "In":
        return _may_be(key, values, labels)
    if key not in labels:
        return operator in ("NotIn", "DoesNotExist") or _is_later(key) or key == HASH
    return {"NotIn": labels[key] not in values, "Exists": True, "DoesNotExist": False}[operator]


def _may_be(key: str, values: Sequence[str], labels: Mapping[str, str]) -> bool:
    if key == CANONICAL and key not in labels:  # what Istio makes of the name is known
        return labels.get(APP, OWN_GATEWAY_ACCOUNT) in values
    return labels[key] in values if key in labels else _is_later(key)


def _is_later(key: str) -> bool:
    """Whether Istio may add a label. Of all others that our pods lack, a policy selects none of them."""
    return "istio.io/" in key


def _policy(name: str, namespace: str, direction: str, selector: Object, peers: Sequence[Object]) -> Object:
    found: Object = manifests.read("room-network", NAME=name, NAMESPACE=namespace)
    spec = found["spec"]
    spec["podSelector"], spec["policyTypes"] = selector, [direction]
    if direction == INGRESS:
        spec["ingress"] = [{"from": list(peers)}]
        del spec["egress"]
    else:
        spec["egress"].insert(0, {"to": list(peers)})
        del spec["ingress"]
    return found


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
