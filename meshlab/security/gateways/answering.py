"""A pod outside the mesh that answers what it was told to: the proxy's own image, with a configuration of ours.

That image is on every cluster that has a mesh, so nothing else needs to be pulled or built. Each answer
names the address that it came from (x-meshlab-peer), and Envoy counts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.core.errors import KubeError, QueryError
from meshlab.envoy.stats import ADMIN_PORT, fetch
from meshlab.istio.control_plane import SIDECAR
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward

PORT = 8080  # of the pod
SERVICE_PORT = 80
PEER_HEADER = "x-meshlab-peer"
HIDDEN = {"networking.istio.io/exportTo": "~"}  # a Service that no proxy is told of: a host outside the mesh
ANSWERED = re.compile(r"^http\.pages\.downstream_rq_total: (\d+)$", re.MULTILINE)


def proxy_image(kube: Kube, *namespaces: str) -> str:
    """The image of a proxy that runs in one of these namespaces. Raises KubeError when there is none."""
    for namespace in namespaces:
        for pod in kube.pods(namespace):
            if SIDECAR in pod.images and pod.is_ready:
                return pod.images[SIDECAR]
    raise KubeError(
        f"no pod of {', '.join(namespaces)} runs a proxy", remedy="install Istio with a gateway first"
    )


def documents(
    name: str, namespace: str, image: str, pages: Mapping[str, str], services: Sequence[str]
) -> list[dict[str, Any]]:
    """ConfigMap, Deployment and Services of a pod that answers these pages (path → body, JSON or text).

    services: their names; port 80 of each leads to the pod. All but the pod are unknown to the mesh.
    """
    labels = {"app": name}
    meta = {"namespace": namespace, "labels": labels}
    container = {
        "name": "pages",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["envoy", "-c", "/etc/pages/envoy.json", "--disable-hot-restart"],
        "args": ["--concurrency", "1", "--log-level", "warning"],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi"},
        },
        "securityContext": {
            "runAsUser": 1337,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "pages", "mountPath": "/etc/pages"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "pages", "configMap": {"name": name}}],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, **meta},
            "data": {"envoy.json": json.dumps(envoy_config(pages))},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, **meta},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": {**labels, "sidecar.istio.io/inject": "false"}},
                    "spec": pod,
                },
            },
        },
        *(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": service, **meta, "annotations": HIDDEN},
                "spec": {
                    "selector": labels,
                    "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": PORT}],
                },
            }
            for service in services
        ),
    ]


def envoy_config(pages: Mapping[str, str]) -> dict[str, Any]:
    """Envoy's bootstrap: one listener that answers each page by itself, and the admin page for the pod only."""
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "pages",
        "route_config": {
            "response_headers_to_add": [
                {
                    "header": {
                        "key": PEER_HEADER,
                        "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
                    }
                }
            ],
            "virtual_hosts": [
                {
                    "name": "pages",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"path": path},
                            "direct_response": {"status": 200, "body": {"inline_string": body}},
                        }
                        for path, body in pages.items()
                    ],
                }
            ],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {
        "name": "pages",
        "address": _address("0.0.0.0", PORT),
        "filter_chains": [{"filters": [http]}],
    }
    return {
        "admin": {"address": _address("127.0.0.1", ADMIN_PORT)},
        "static_resources": {"listeners": [listener]},
    }


def answered(kube: Kube, namespace: str, name: str) -> int:
    """Requests that the pod has answered since it started, as its own Envoy counts them.

    Raises QueryError, KubeError.
    """
    with PortForward(kube, namespace=namespace, port=ADMIN_PORT, selector=f"app={name}") as forward:
        text = fetch(f"{forward.url}/stats?filter=downstream_rq_total").text
    found = ANSWERED.search(text)
    if found is None:
        raise QueryError(
            f"{namespace}/{name} does not tell how many requests it answered: {text[:200]!r}",
            remedy="look at the log of its container",
        )
    return int(found[1])


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
