"""Grafana, from the addon manifest that Istio ships, where its image can be had: this project does not compile it."""

from __future__ import annotations

from typing import Any

import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.grafana_client import GrafanaClient
from meshlab.observability.addons.places import Signs
from meshlab.observability.addons.prometheus import PROMETHEUS

DATASOURCES = "datasources.yaml"  # the key of the ConfigMap that tells Grafana where Prometheus is


def _told_of_prometheus(
    documents: list[dict[str, Any]], distribution: Distribution, config: LabConfig
) -> list[dict[str, Any]]:
    """The addon's objects; changed is only Prometheus's address, where it was put elsewhere."""
    holders = [each for each in documents if DATASOURCES in (each.get("data") or {})]
    if len(holders) != 1:
        raise IstioError(
            f"Istio's Grafana addon has {len(holders)} lists of datasources, one was expected",
            remedy="this release's addon is different; compare it with meshlab/observability/addons/grafana.py",
        )
    listed = yaml.safe_load(holders[0]["data"][DATASOURCES])
    beside = holders[0]["metadata"].get("namespace")  # a Prometheus there is reached by its name alone
    for source in listed["datasources"]:
        if source["type"] == "prometheus" and config.prometheus.namespace != beside:
            host = f"{PROMETHEUS.service}.{config.prometheus.namespace}.svc"
            source["url"] = f"http://{host_port(host, PROMETHEUS.port)}"
    holders[0]["data"][DATASOURCES] = yaml.safe_dump(listed, sort_keys=False)
    return documents


def _answers(client: GrafanaClient) -> str:
    client.uid()  # it has its Prometheus datasource
    return client.version()


GRAFANA = Addon(
    "grafana",
    "grafana",
    3000,
    GrafanaClient,
    _answers,
    change=_told_of_prometheus,
    signs=(
        Signs(
            labels=(("app.kubernetes.io/name", "grafana"), ("app", "grafana")),
            names=("(.*-)?grafana",),
            ports=("http-web", "service", "http", "grafana", 3000, 80),
            parts=("grafana",),
        ),
    ),
)
