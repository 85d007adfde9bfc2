"""Grafana, from the addon manifest that Istio ships, where its image can be had; there is none of ours."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import read_manifests
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.grafana_client import GrafanaClient
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.dashboards.read import ADDON

DATASOURCES = "datasources.yaml"  # the key of the ConfigMap that tells Grafana where Prometheus is


def manifest(
    distribution: Distribution, config: LabConfig, images: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Read the addon's objects from the distribution's own samples/addons/grafana.yaml.

    Changed is only Prometheus's address, where it was put elsewhere.

    Args:
        distribution: Its samples are read.
        config: The settings.
        images: Not used: no image of ours stands for Grafana's.

    Returns:
        The objects.

    Raises:
        InputError: The manifest can't be read.
        IstioError: It has no list of datasources.
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
            host = f"{PROMETHEUS.service}.{config.prometheus.namespace}.svc"
            source["url"] = f"http://{host_port(host, PROMETHEUS.port)}"
    holders[0]["data"][DATASOURCES] = yaml.safe_dump(listed, sort_keys=False)
    return documents


def _answers(client: GrafanaClient) -> str:
    client.uid()  # it has its Prometheus datasource
    return client.version()


GRAFANA = Addon("grafana", "grafana", 3000, manifest, GrafanaClient, _answers)
