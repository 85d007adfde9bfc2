"""Prometheus, from the addon manifest that Istio ships.

On a managed cluster it is changed as far as that needs it, elsewhere it is applied as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from meshlab import manifests
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.places import Signs
from meshlab.observability.addons.query import PrometheusClient

# Jobs of the addon's configuration that can meet a sidecar: they scrape what pods and services announce by
# annotation.
SIDECAR_JOBS = ("kubernetes-pods", "kubernetes-pods-slow", "kubernetes-service-endpoints")
# Reloads the configuration when its ConfigMap changes. Its image can't be had here, and the configuration
# never changes.
RELOADER = "prometheus-server-configmap-reload"
GRACE_SECONDS = 2  # the addon asks for 300, to write out data that nobody reads again here


def _change(
    documents: list[dict[str, Any]], distribution: Distribution, config: LabConfig
) -> list[dict[str, Any]]:
    """The addon's objects, in the namespace that the settings name.

    Embedded distribution: relabelling is added to every job that meets sidecars, because its proxies export
    the standard metrics under other names. Embedded images: the config reloader is left out. Tuned clusters:
    a shorter scrape interval and a short grace. Else nothing is changed.
    """
    for document in documents:
        for place in (document["metadata"], *(document.get("subjects") or [])):
            if "namespace" in place:
                place["namespace"] = config.prometheus.namespace
    if distribution.embedded:
        _configure(documents, config)
    if config.image_source == "embedded":
        pod = _only(documents, "Deployment")["spec"]["template"]["spec"]
        pod["containers"] = [each for each in pod["containers"] if each["name"] != RELOADER]
    return documents


def _configure(documents: Sequence[dict[str, Any]], config: LabConfig) -> None:
    """Relabelling in the jobs that meet sidecars, and on tuned clusters the shorter interval and grace."""
    config_map = _only(documents, "ConfigMap")
    settings = yaml.safe_load(config_map["data"]["prometheus.yml"])
    jobs = {job["job_name"]: job for job in settings["scrape_configs"]}
    missing = [name for name in SIDECAR_JOBS if name not in jobs]
    if missing:
        raise IstioError(
            f"Istio's Prometheus addon has no job {', '.join(missing)}",
            remedy="name this release's jobs that scrape sidecars in meshlab/observability/addons/prometheus.py",
        )
    for name in SIDECAR_JOBS:
        jobs[name].setdefault("metric_relabel_configs", []).extend(manifests.read("prometheus-relabel"))
    if config.tuned:
        seconds = config.prometheus.scrape_seconds
        settings["global"]["scrape_interval"] = f"{seconds}s"
        # A scrape may not take longer than the interval.
        settings["global"]["scrape_timeout"] = f"{min(seconds, 10)}s"
        pod = _only(documents, "Deployment")["spec"]["template"]["spec"]
        pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    config_map["data"]["prometheus.yml"] = yaml.safe_dump(settings, sort_keys=False)


def _only(documents: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [document for document in documents if document["kind"] == kind]
    if len(found) != 1:
        raise IstioError(
            f"Istio's Prometheus addon has {len(found)} objects of kind {kind}, one was expected",
            remedy="this release's addon is different; compare it with meshlab/observability/addons/prometheus.py",
        )
    return found[0]


PROMETHEUS = Addon(
    "prometheus",
    "prometheus",
    9090,
    PrometheusClient,
    PrometheusClient.ready,
    change=_change,
    compiled=True,
    movable=True,
    signs=(
        Signs(
            labels=(
                ("app", "kube-prometheus-stack-prometheus"),
                ("operated-prometheus", "true"),
                ("app.kubernetes.io/name", "prometheus"),
                ("app", "prometheus"),
            ),
            names=("prometheus-operated", "prometheus(-server|-k8s)?"),
            ports=("http-web", "web", "https-web", "http", "http-prometheus", 9090, 80),
            parts=("server", "prometheus"),
        ),
    ),
)
