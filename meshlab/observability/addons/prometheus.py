"""Prometheus, from the addon manifest that Istio ships: on a mesh of ours with the few changes it needs,
elsewhere as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from meshlab import manifests
from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import replace
from meshlab.kube.apply import read_manifests
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.query import PrometheusClient

# Jobs of the addon's configuration that can meet a sidecar: they scrape what pods and services announce by
# annotation.
SIDECAR_JOBS = ("kubernetes-pods", "kubernetes-pods-slow", "kubernetes-service-endpoints")
# Reloads the configuration when its ConfigMap changes. Its image can't be had here, and the configuration
# never changes.
RELOADER = "prometheus-server-configmap-reload"
GRACE_SECONDS = 2  # the addon asks for 300, to write out data that nobody reads again here


def manifest(
    distribution: Distribution, config: LabConfig, images: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Read the addon's objects from the distribution's own samples/addons/prometheus.yaml.

    Embedded distribution: relabelling is added to every job that meets sidecars, because its proxies export
    the standard metrics under other names. Embedded images: the server's image is replaced and the config
    reloader left out. Tuned clusters: a shorter scrape interval and a short grace. Else nothing is changed.

    Args:
        distribution: Its samples are read.
        config: The settings.
        images: References of images of ours.

    Returns:
        The objects.

    Raises:
        InputError: The manifest can't be read.
        IstioError: It looks different from what is expected, or no image of ours stands for one of its images.
    """
    documents = read_manifests(distribution.samples / "addons" / "prometheus.yaml")
    documents = [_in_namespace(document, config.prometheus.namespace) for document in documents]
    if distribution.ours:
        documents = _configured(documents, config)
    if config.image_source == "embedded":
        documents = replace([_without_reloader(document) for document in documents], images)
    return documents


def _in_namespace(document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """The addon names istio-system everywhere; settings may put it elsewhere."""
    moved = copy.deepcopy(dict(document))
    if "namespace" in moved["metadata"]:
        moved["metadata"]["namespace"] = namespace
    for subject in moved.get("subjects") or []:
        if "namespace" in subject:
            subject["namespace"] = namespace
    return moved


def _configured(documents: Sequence[Mapping[str, Any]], config: LabConfig) -> list[dict[str, Any]]:
    """Relabelling in the jobs that meet sidecars, and on tuned clusters the shorter interval and grace."""
    changed = [copy.deepcopy(dict(document)) for document in documents]
    config_map = _only(changed, "ConfigMap")
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
        pod = _only(changed, "Deployment")["spec"]["template"]["spec"]
        pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    config_map["data"]["prometheus.yml"] = yaml.safe_dump(settings, sort_keys=False)
    return changed


def _without_reloader(document: Mapping[str, Any]) -> dict[str, Any]:
    kept = copy.deepcopy(dict(document))
    if kept["kind"] == "Deployment":
        pod = kept["spec"]["template"]["spec"]
        pod["containers"] = [each for each in pod["containers"] if each["name"] != RELOADER]
    return kept


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
    manifest,
    PrometheusClient,
    PrometheusClient.ready,
    compiled=True,
    movable=True,
)
