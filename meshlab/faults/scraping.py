"""Whether Prometheus has heard that a pod is not to be scraped."""

from __future__ import annotations

from meshlab.config.settings import LabConfig
from meshlab.core.waiting import wait
from meshlab.kube.client import Kube
from meshlab.observability.addons.prometheus import PROMETHEUS

DISCOVERY_TIMEOUT = 60.0  # seconds; Prometheus takes changes of its targets in every 5 s


def wait_not_scraped(kube: Kube, config: LabConfig, pod: str) -> None:
    """Wait until a pod is among Prometheus's targets no more. Raises WaitTimeout, QueryError, KubeError."""
    with PROMETHEUS.open(kube, config) as client:
        wait(
            f"Prometheus to drop the target {pod}",
            lambda: [target for target in client.targets() if target.pod == pod],
            ready=lambda found: not found,
            describe=lambda found: f"{len(found)} targets",
            timeout=DISCOVERY_TIMEOUT,
        )
