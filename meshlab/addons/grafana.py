"""Grafana, from the addon manifest that Istio ships, where its image can be had; there is none of ours."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from meshlab.addons import prometheus
from meshlab.addons.grafana_client import GrafanaClient
from meshlab.dashboards.read import ADDON
from meshlab.errors import IstioError, KubeError
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import containers
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef, apply, read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.kube.rollout import wait_deployments
from meshlab.progress import Progress, silent
from meshlab.settings import LabConfig
from meshlab.waiting import Clock, wait

__all__ = [
    "GrafanaClient",
    "deploy",
    "manifest",
    "port_forward",
    "unavailable",
    "wait_answering",
]

NAME, PORT = "grafana", 3000
DATASOURCES = "datasources.yaml"  # the key of the ConfigMap that tells Grafana where Prometheus is


def manifest(distribution: Distribution, config: LabConfig) -> list[dict[str, Any]]:
    """The addon's objects, from the distribution's own samples/addons/grafana.yaml.

    Changed is only Prometheus's address, where it was put elsewhere. Raises InputError for a manifest that
    can't be read, IstioError without a list of datasources.
    """
    documents = [copy.deepcopy(dict(each)) for each in read_manifests(distribution.samples / ADDON)]
    holders = [each for each in documents if DATASOURCES in (each.get("data") or {})]
    if len(holders) != 1:
        raise IstioError(
            f"Istio's Grafana addon has {len(holders)} lists of datasources, one was expected",
            remedy="this release's addon is different; compare it with meshlab/addons/grafana.py",
        )
    listed = yaml.safe_load(holders[0]["data"][DATASOURCES])
    for source in listed["datasources"]:
        if source["type"] == "prometheus" and config.prometheus.namespace != SYSTEM_NAMESPACE:
            source["url"] = f"http://{prometheus.NAME}.{config.prometheus.namespace}.svc:{prometheus.PORT}"
    holders[0]["data"][DATASOURCES] = yaml.safe_dump(listed, sort_keys=False)
    return documents


def unavailable(config: LabConfig, distribution: Distribution, kube: Kube) -> str:
    """Why Grafana can't run here, "" where it can, or runs already.

    Its image must come from outside or be held by a node (image archives), and istio-system is written to
    only where the scope is `mesh`. Raises InputError for a manifest that can't be read, KubeError.
    """
    if _is_theirs(config, kube):
        return ""
    if config.scope != "mesh":
        return f"there is no Grafana in {SYSTEM_NAMESPACE}, and the run may not put one there"
    if config.image_source == "official":
        return ""
    held = {
        name
        for node in kube.objects("v1", "Node")
        for image in node.get("status", {}).get("images") or []
        for name in image.get("names") or []
    }
    missing = [image for image in _images(manifest(distribution, config)) if not _is_held(image, held)]
    if not missing:
        return ""
    return f"no node holds {', '.join(missing)}, and this project makes no image of it"


def deploy(
    config: LabConfig, distribution: Distribution, kube: Kube, *, progress: Progress = silent
) -> tuple[ObjectRef, ...]:
    """Apply the addon and wait until it is Ready; returns what was applied.

    On a cluster that is not ours a Grafana that is there is used as it is, and nothing is applied. Raises
    KubeError where it is `unavailable`, RolloutError with the cause when it does not become Ready.
    """
    refs: tuple[ObjectRef, ...] = ()
    if not _is_theirs(config, kube):
        reason = unavailable(config, distribution, kube)
        if reason:
            remedy = "ask Prometheus itself; or bring Grafana's image, or allow changes: --allow-changes"
            raise KubeError(f"Grafana can't run here: {reason}", remedy=remedy)
        refs = apply(kube, manifest(distribution, config))
    timeout = config.app.rollout_timeout
    wait_deployments(kube, SYSTEM_NAMESPACE, [NAME], timeout=timeout, progress=progress)
    return refs


def port_forward(kube: Kube) -> PortForward:
    """A local port that leads to Grafana."""
    return PortForward(kube, namespace=SYSTEM_NAMESPACE, port=PORT, service=NAME)


def wait_answering(client: GrafanaClient, *, timeout: float, clock: Clock | None = None) -> str:
    """Wait until Grafana answers and has its Prometheus datasource; returns its version.

    Raises WaitTimeout.
    """

    def look() -> str:
        version = client.version()
        client.uid()
        return version

    return wait(
        f"Grafana at {client.url} to answer",
        look,
        ready=lambda _: True,
        timeout=timeout,
        remedy="look at the log of its pod",
        clock=clock,
    )


def _is_theirs(config: LabConfig, kube: Kube) -> bool:
    return not config.ours and kube.get("apps/v1", "Deployment", NAME, SYSTEM_NAMESPACE) is not None


def _images(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    return [container["image"] for document in documents for container in containers(document)]


def _is_held(image: str, held: set[str]) -> bool:
    """Whether a node has it; a node tells the full name, with the registry that a short one implies."""
    return any(name == image or name.endswith(f"/{image}") for name in held)
