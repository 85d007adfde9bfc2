"""A pod outside the mesh that answers what it was told to: the proxy's own image, with a configuration of ours.

That image is on every cluster that has a mesh, so nothing else needs to be pulled or built. Each answer
names the address that it came from (x-meshlab-peer), and Envoy counts them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab import manifests
from meshlab.core.errors import KubeError
from meshlab.envoy.admin import PROXY_PORT, getter_of, read_stat
from meshlab.istio.control_plane import SIDECAR
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward

PORT = 8080  # of the pod; its Services have port 80
ANSWERED = "http.pages.downstream_rq_total"


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
    """Make the objects of a pod that answers given pages. All but the pod are unknown to the mesh.

    Args:
        name: The pod's, and its `app` label.
        namespace: Where it goes.
        image: Of a proxy.
        pages: Path → body, JSON or text.
        services: Names of Services; port 80 of each leads to the pod.

    Returns:
        ConfigMap, Deployment and Services.
    """
    words = {"NAMESPACE": namespace, "APP": name}
    config, deployment = manifests.read("answering-pod", IMAGE=image, **words)
    config["data"]["envoy.json"] = json.dumps(envoy_config(pages))
    named = [manifests.read("answering-service", SERVICE=service, **words) for service in services]
    return [config, deployment, *named]


def envoy_config(pages: Mapping[str, str]) -> dict[str, Any]:
    """Envoy's bootstrap: one listener that answers each page by itself, and the admin page for the pod only."""
    config: dict[str, Any] = manifests.read("answering-envoy")
    [listener] = config["static_resources"]["listeners"]
    [pages_filter] = listener["filter_chains"][0]["filters"]
    [served] = pages_filter["typed_config"]["route_config"]["virtual_hosts"]
    served["routes"] = [
        {"match": {"path": path}, "direct_response": {"status": 200, "body": {"inline_string": body}}}
        for path, body in pages.items()
    ]
    return config


def answered(kube: Kube, namespace: str, name: str) -> int:
    """Count the requests that the pod has answered since it started, as its own Envoy counts them.

    Args:
        kube: Client of the cluster.
        namespace: Where the pod is.
        name: Its `app` label.

    Returns:
        The count.

    Raises:
        QueryError: The pod does not tell.
        KubeError: It can't be reached.
    """
    with PortForward(kube, namespace=namespace, port=PROXY_PORT, selector=f"app={name}") as forward:
        return read_stat(getter_of(forward), ANSWERED)
