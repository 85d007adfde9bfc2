"""Istio's CNI node agent on the local cluster: what the IstioOperator says, so that it finds the nodes' folders."""

from __future__ import annotations

from typing import Any

from meshlab.clusters.local import istio_cni

MOUNT = "spec.template.spec.containers.[name:install-cni].volumeMounts.[name:cni-net-dir].subPathExpr"
REQUESTS = {"cpu": "10m", "memory": "40Mi"}  # of each node; the chart's own are those of a big node


def ask_for(document: dict[str, Any], tag: str) -> None:
    """Enable the agent. The nodes share a file system, so each agent is shown the folder of its own node.

    Args:
        document: The IstioOperator, changed in place.
        tag: Of the agent's image, under the hub of the others.
    """
    spec = document["spec"]
    component = spec.setdefault("components", {}).setdefault("cni", {})
    component["enabled"] = True
    overlay = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": "istio-cni-node",
        "patches": [{"path": MOUNT, "value": "$(NODE_NAME)"}],
    }
    overlays = component.setdefault("k8s", {}).setdefault("overlays", [])
    if overlay not in overlays:
        overlays.append(overlay)
    values = spec.setdefault("values", {}).setdefault("cni", {})
    values |= {"tag": tag, "cniBinDir": str(istio_cni.BIN), "cniConfDir": str(istio_cni.CONF)}
    values.setdefault("resources", {"requests": REQUESTS})
