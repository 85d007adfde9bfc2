"""The configuration of the mesh, as istiod reads it."""

from __future__ import annotations

from typing import Any

import yaml

from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.client import Kube


def mesh_config(kube: Kube) -> dict[str, Any]:
    """Read the mesh's configuration from the ConfigMap `istio`, or `istio-<revision>` where there is no default.

    Raises KubeError when the API server refuses it. A mesh without a configuration has an empty one.
    """
    maps = [
        each
        for each in kube.objects("v1", "ConfigMap", SYSTEM_NAMESPACE)
        if each["metadata"]["name"].startswith("istio") and "mesh" in (each.get("data") or {})
    ]
    maps.sort(key=lambda each: (each["metadata"]["name"] != "istio", each["metadata"]["name"]))
    content = yaml.safe_load(maps[0]["data"]["mesh"]) if maps else {}
    return content if isinstance(content, dict) else {}
