"""CoreDNS, the cluster's DNS server: applied as soon as the API server answers, not awaited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from meshlab.clusters.local.layout import Layout

MANIFEST = Path(__file__).parents[2] / "manifests" / "coredns.yaml"


def documents(layout: Layout, image: str) -> list[dict[str, Any]]:
    """Read CoreDNS's manifest for this cluster.

    Args:
        layout: The cluster.
        image: The reference of CoreDNS's image.

    Returns:
        The objects to apply.
    """
    found: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text()))
    for document in found:
        if document["kind"] == "ConfigMap":
            corefile = document["data"]["Corefile"]
            document["data"]["Corefile"] = corefile.replace("CLUSTER_DOMAIN", layout.domain)
        elif document["kind"] == "Deployment":
            document["spec"]["template"]["spec"]["containers"][0]["image"] = image
        elif document["kind"] == "Service":
            document["spec"]["clusterIP"] = layout.dns_service
    return found
