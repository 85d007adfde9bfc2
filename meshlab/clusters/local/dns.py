"""CoreDNS, the cluster's DNS server: applied as soon as the API server answers, awaited only by who needs
names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from meshlab.clusters.local.api import Api
from meshlab.clusters.local.layout import Layout
from meshlab.core.waiting import Clock, wait

MANIFEST = Path(__file__).parents[2] / "manifests" / "coredns.yaml"
DEPLOYMENT = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"


def documents(layout: Layout, image: str) -> list[dict[str, Any]]:
    """The manifest's objects for this cluster. image: the reference of CoreDNS's image."""
    found: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text()))
    for document in found:
        if document["kind"] == "Deployment":
            document["spec"]["template"]["spec"]["containers"][0]["image"] = image
        elif document["kind"] == "Service":
            document["spec"]["clusterIP"] = layout.dns_service
    return found


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
