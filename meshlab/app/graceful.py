"""The application's servers made fit for restarts: Ready when they answer, and serving on until every proxy has heard."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.app.bookinfo import WORKLOADS

HEALTH = "/health"  # every server of Bookinfo answers it without calling another
STAY = 5  # seconds that a pod serves on after its end was asked for: endpoints reach a proxy within one
SLEEP_ACTION = (1, 30)  # the Kubernetes from which on kubelet itself sleeps, and the image needs no `sleep`


def graceful(documents: Sequence[Mapping[str, Any]], kubernetes: str) -> list[dict[str, Any]]:
    """Give Bookinfo's servers what Istio's samples lack: a readiness probe and a preStop hook, as an operator would.

    Without the probe a pod is Ready before its application listens; without the hook it stops listening before the proxies
    have heard that it goes. Source: "Pod Lifecycle", "Termination of Pods" in Kubernetes' documentation.

    Args:
        documents: Objects of the application.
        kubernetes: The API server's version, for example v1.36.1.

    Returns:
        Copies; what serves nothing, and a container that has such a probe or hook already, does not differ.
    """
    ports = {workload.name: workload.port for workload in WORKLOADS if workload.port}
    found = [copy.deepcopy(dict(each)) for each in documents]
    for each in found:
        port = ports.get(each["metadata"]["name"]) if each["kind"] == "Deployment" else None
        if port is None:
            continue
        for container in each["spec"]["template"]["spec"]["containers"]:
            container.setdefault(
                "readinessProbe", {"httpGet": {"path": HEALTH, "port": port}, "periodSeconds": 1}
            )
            container.setdefault("lifecycle", {}).setdefault("preStop", _stay(kubernetes))
    return found


def _stay(kubernetes: str) -> dict[str, Any]:
    numbers = re.match(r"v?(\d+)\.(\d+)", kubernetes)
    if numbers and (int(numbers[1]), int(numbers[2])) >= SLEEP_ACTION:
        return {"sleep": {"seconds": STAY}}
    return {"exec": {"command": ["sleep", str(STAY)]}}
