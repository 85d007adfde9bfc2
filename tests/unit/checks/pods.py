"""Pods for the tests of the checks."""

from __future__ import annotations

from typing import Any

from meshlab.kube.pods import PodSummary


def pod(name: str, **changes: Any) -> PodSummary:
    """A Running and Ready pod with a sidecar, but for the changes."""
    fields: dict[str, Any] = {
        "namespace": "default",
        "name": name,
        "uid": f"uid-{name}",
        "node": "node-1",
        "ip": "10.0.0.9",
        "ready": "2/2",
        "phase": "Running",
        "status": "Running",
        "restarts": 0,
        "started": None,
        "containers": ("app", "istio-proxy"),
        "images": {},
        "labels": {},
        "service_account": "default",
        "is_ready": True,
        "deleting": False,
    }
    return PodSummary(**{**fields, **changes})
