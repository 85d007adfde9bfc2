"""Grafana, from the addon manifest that Istio ships, where its image can be had; there is none of ours."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import IstioError, KubeError
from meshlab.core.progress import Progress, silent
from meshlab.core.waiting import Clock, wait
from meshlab.istio.distribution import Distribution
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef, read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.observability.addons import prometheus, shipped
from meshlab.observability.addons.grafana_client import GrafanaClient
from meshlab.observability.dashboards.read import ADDON

__all__ = [
    "GrafanaClient",
    "client",
    "deploy",
    "manifest",
    "port_forward",
    "runs",
    "wait_answering",
    "why_not",
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
            remedy="this release's addon is different; compare it with meshlab/observability/addons/grafana.py",
        )
    listed = yaml.safe_load(holders[0]["data"][DATASOURCES])
    for source in listed["datasources"]:
        if source["type"] == "prometheus" and config.prometheus.namespace != SYSTEM_NAMESPACE:
            host = f"{prometheus.NAME}.{config.prometheus.namespace}.svc"
            source["url"] = f"http://{host_port(host, prometheus.PORT)}"
    holders[0]["data"][DATASOURCES] = yaml.safe_dump(listed, sort_keys=False)
    return documents


def why_not(config: LabConfig, distribution: Distribution, kube: Kube, held: Sequence[str] = ()) -> str:
    """Why Grafana can't run here; "" where it can, or runs already.

    held: references of the images that the cluster was given, by image archives say. Raises InputError for a
    manifest that can't be read, KubeError.
    """
    return shipped.why_not(config, kube, NAME, manifest(distribution, config), held)


def deploy(
    config: LabConfig,
    distribution: Distribution,
    kube: Kube,
    *,
    held: Sequence[str] = (),
    progress: Progress = silent,
) -> tuple[ObjectRef, ...]:
    """Apply the addon and wait until it is Ready; returns what was applied.

    On a cluster that is not ours a Grafana that is there is used as it is, and nothing is applied. Raises
    KubeError where it can't run (ask `why_not` before), RolloutError with the cause.
    """
    refs: tuple[ObjectRef, ...] = ()
    if not shipped.is_theirs(config, kube, NAME):
        reason = why_not(config, distribution, kube, held)
        if reason:
            remedy = "ask Prometheus itself; or bring Grafana's image, or allow changes: --allow-changes"
            raise KubeError(f"Grafana can't run here: {reason}", remedy=remedy)
        refs = shipped.put(kube, NAME, manifest(distribution, config))
    shipped.wait_ready(config, kube, NAME, progress)
    return refs


def runs(kube: Kube) -> bool:
    """Whether there is a Grafana to be asked, whoever made it."""
    return shipped.runs(kube, NAME)


def port_forward(kube: Kube) -> PortForward:
    """A local port that leads to Grafana."""
    return PortForward(kube, namespace=SYSTEM_NAMESPACE, port=PORT, service=NAME)


def client(forward: PortForward) -> GrafanaClient:
    """A client behind an open port-forward, whose errors name why that leads nowhere."""
    return GrafanaClient(forward.url, why=lambda: shipped.why_unreachable(forward))


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
