"""Objects of an installed Istio, as its charts and istioctl write them, as far as the facts of a mesh are read."""

from __future__ import annotations

import json
from typing import Any

import yaml

SYSTEM = "istio-system"
Object = dict[str, Any]
# Of Istio's own kinds those that tell facts of a mesh.
KINDS = (
    ("security.istio.io/v1", "PeerAuthentication"),
    ("networking.istio.io/v1", "Sidecar"),
    ("telemetry.istio.io/v1", "Telemetry"),
)


def istiod(
    revision: str = "default",
    *,
    namespace: str = SYSTEM,
    tag: str = "1.28.3",
    domain: str = "cluster.local",
    env: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Object:
    """The Deployment of a control plane."""
    name = named("istiod", revision)
    labels = {"app": "istiod", "istio.io/rev": revision}
    container = {
        "name": "discovery",
        "image": f"example/pilot:{tag}",
        "args": ["discovery", "--monitoringAddr=:15014", "--domain", domain],
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()]
        + [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    }
    managed = {} if annotations else {"operator.istio.io/managed": "Reconcile"}
    selected = {"istio": "pilot"} if revision == "default" else labels
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**labels, **managed},
            "annotations": annotations or {},
        },
        "spec": {"selector": {"matchLabels": selected}, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": 1},
    }


def mesh_map(config: Any, revision: str = "default", *, name: str = "", namespace: str = SYSTEM) -> Object:
    """A ConfigMap with a mesh configuration; a text is taken as it is."""
    text = config if isinstance(config, str) else yaml.safe_dump(config)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name or named("istio", revision), "namespace": namespace},
        "data": {"mesh": text},
    }


def injector(revision: str = "default", *, domain: str = "cluster.local", cni: bool = False) -> Object:
    """The ConfigMap with which istiod injects."""
    values = {"global": {"proxy": {"clusterDomain": domain}}, "pilot": {"cni": {"enabled": cni}}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": named("istio-sidecar-injector", revision), "namespace": SYSTEM},
        "data": {"config": "policy: enabled", "values": json.dumps(values)},
    }


def webhooks(revision: str = "default", *, tag: str = "", namespace: str = SYSTEM) -> Object:
    """The injection webhooks of a revision, or of a tag that points at it."""
    asked = tag or revision
    hooks = [_hook("rev.namespace", revision, namespace, _in("istio.io/rev", asked), _no("istio-injection"))]
    if asked == "default":
        hooks.append(_hook("namespace", revision, namespace, _in("istio-injection", "enabled")))
    wanted = {"sidecar.istio.io/inject": "true"}
    by_pod = _hook("object", revision, namespace, _no("istio-injection"), _no("istio.io/rev"))
    hooks.append({**by_pod, "objectSelector": {"matchLabels": wanted}})
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": f"istio-revision-tag-{tag}" if tag else named("istio-sidecar-injector", revision),
            "labels": {
                "app": "sidecar-injector",
                "istio.io/rev": revision,
                **({"istio.io/tag": tag} if tag else {}),
            },
        },
        "webhooks": hooks,
    }


def policy(
    kind: str,
    name: str,
    namespace: str,
    spec: Object,
    *,
    created: str = "2026-01-01T00:00:00Z",
    api_version: str = "",
) -> Object:
    """An object of one of Istio's kinds."""
    group = {"PeerAuthentication": "security", "Sidecar": "networking", "Telemetry": "telemetry"}[kind]
    return {
        "apiVersion": api_version or f"{group}.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": spec,
    }


def named(name: str, revision: str) -> str:
    """The name that a revision's own object has."""
    return name if revision == "default" else f"{name}-{revision}"


def _hook(prefix: str, revision: str, namespace: str, *terms: Object) -> Object:
    return {
        "name": f"{prefix}.sidecar-injector.istio.io",
        "clientConfig": {"service": {"name": named("istiod", revision), "namespace": namespace}},
        "namespaceSelector": {"matchExpressions": list(terms)},
        "objectSelector": {
            "matchExpressions": [{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]
        },
    }


def _in(key: str, value: str) -> Object:
    return {"key": key, "operator": "In", "values": [value]}


def _no(key: str) -> Object:
    return {"key": key, "operator": "DoesNotExist"}
