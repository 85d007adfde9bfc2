"""Where Prometheus, tracing, Grafana and Kiali of a mesh are asked, as facts of the mesh."""

from __future__ import annotations

from typing import Any

from meshlab.app.metrics_server import MetricsServer
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.prometheus import PROMETHEUS

ASKED: tuple[Addon[Any], ...] = (PROMETHEUS, JAEGER, GRAFANA, KIALI)


def whereabouts(kube: Kube, config: LabConfig) -> dict[str, dict[str, object]]:
    """Find out where each of them is asked.

    Args:
        kube: Client of the cluster.
        config: The settings.

    Returns:
        prometheus, tracing, grafana, kiali → `where` and `how` that is known, or `why_not`.
    """
    return {addon.asked_as: _row(addon, kube, config) for addon in ASKED}


def called(kube: Kube, config: LabConfig) -> MetricsServer | None:
    """Find the Prometheus that sidecars can call in plaintext.

    Args:
        kube: Client of the cluster.
        config: The settings.

    Returns:
        Its Service; None where there is none, where it is outside of the cluster, and where it speaks TLS.

    Raises:
        KubeError: The API server does not answer.
    """
    place = PROMETHEUS.place(kube, config)
    if place is None or place.url or place.scheme != "http":
        return None
    return MetricsServer(place.namespace, place.service, place.port, place.path)


def scraping_namespace(kube: Kube, config: LabConfig) -> str:
    """Find out from which namespace Prometheus scrapes, whatever its scheme.

    Args:
        kube: Client of the cluster.
        config: The settings.

    Returns:
        The namespace; "" where there is none, and where a URL is all that is known of it.

    Raises:
        KubeError: The API server does not answer.
    """
    place = PROMETHEUS.place(kube, config)
    return place.namespace if place is not None else ""


def _row(addon: Addon[Any], kube: Kube, config: LabConfig) -> dict[str, object]:
    try:
        place = addon.place(kube, config, own=False)
    except KubeError as problem:
        return {"why_not": problem.message}
    return {"why_not": addon.absent(config)} if place is None else place.row()
