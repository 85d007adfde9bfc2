"""Kubernetes' Pod Security Standard `restricted`, where the namespace of the run's pods enforces it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab.kube.client import Kube

LABEL, RESTRICTED = "pod-security.kubernetes.io/enforce", "restricted"
USER = 1000  # for images whose user has a name only: kubelet can't tell whether that is root


def enforces_restricted(kube: Kube, namespace: str) -> bool:
    """Tell whether a namespace takes pods of the standard `restricted` only.

    Args:
        kube: Client of the cluster.
        namespace: Its name; it need not be there.

    Returns:
        True where its label says so.

    Raises:
        KubeError: The API server refuses it.
    """
    found: Mapping[str, Any] = kube.get("v1", "Namespace", namespace) or {}
    labels = (found.get("metadata") or {}).get("labels") or {}
    return labels.get(LABEL) == RESTRICTED


def restrict(spec: dict[str, Any]) -> None:
    """Give a pod what the standard demands; a user that it names stays.

    Args:
        spec: Of the pod, changed in place.
    """
    pod = spec["securityContext"] = {
        "runAsUser": USER,
        **(spec.get("securityContext") or {}),
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        context = container.get("securityContext") or {}
        container["securityContext"] = {
            **{key: value for key, value in context.items() if key not in pod or key == "runAsUser"},
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
