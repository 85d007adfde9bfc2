"""CoreDNS, the cluster's DNS server: applied as soon as the API server answers, awaited only by who needs
names.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from meshlab.clusters.local.api import Api
from meshlab.clusters.local.layout import Layout
from meshlab.errors import ClusterError
from meshlab.waiting import Clock, wait

MANIFEST = Path(__file__).parents[2] / "manifests" / "coredns.yaml"
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}",
}
DEPLOYMENT = PATHS["Deployment"].format(namespace="kube-system", name="coredns")


def documents(layout: Layout, image: str) -> list[dict[str, Any]]:
    """The manifest's objects for this cluster. image: the reference of CoreDNS's image."""
    found: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text()))
    for document in found:
        if document["kind"] == "Deployment":
            document["spec"]["template"]["spec"]["containers"][0]["image"] = image
        elif document["kind"] == "Service":
            document["spec"]["clusterIP"] = layout.dns_service
    return found


def apply(api: Api, image: str, *, timeout: float, stop: threading.Event | None = None) -> None:
    """Apply the manifest, as soon as the API server takes it.

    timeout: seconds per object. Raises WaitTimeout, KubeError; ClusterError once `stop` is set.
    """

    def stopped(_: bool) -> ClusterError | None:
        return ClusterError("applying CoreDNS was given up") if stop is not None and stop.is_set() else None

    for document in documents(api.layout, image):

        def send(document: Mapping[str, Any] = document) -> bool:
            if stop is not None and stop.is_set():
                return False
            api.apply(PATHS[document["kind"]].format(**document["metadata"]), document)
            return True

        what = f"the API server to take {document['kind']} {document['metadata']['name']}"
        wait(what, send, ready=bool, error=stopped, timeout=timeout, delay=0.05)


def await_available(api: Api, *, timeout: float, clock: Clock | None = None) -> None:
    """Wait until a DNS server is ready. timeout: seconds. Raises WaitTimeout."""

    def available() -> int:
        return int(api.call("GET", DEPLOYMENT).get("status", {}).get("availableReplicas", 0))

    wait(
        "the cluster's DNS server",
        available,
        ready=lambda count: count >= 1,
        describe=lambda count: f"{count} of 1 available",
        timeout=timeout,
        delay=0.1,
        clock=clock,
        remedy="see its events: kubectl -n kube-system describe pod -l k8s-app=kube-dns",
    )
