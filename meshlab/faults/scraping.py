"""What Prometheus scrapes: whether it has heard that a pod is not to be scraped, and faults of its configuration."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.core.waiting import wait
from meshlab.faults.fault import Site
from meshlab.faults.restart import restart
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube
from meshlab.observability.addons.prometheus import PROMETHEUS

DISCOVERY_TIMEOUT = 60.0  # seconds; Prometheus takes changes of its targets in every 5 s
PODS = "app.kubernetes.io/name=prometheus"  # selects its pods
FILE = "prometheus.yml"  # of its ConfigMap
JOB = "kubernetes-pods"  # scrapes what pods announce by annotation, sidecars among them
Settings = dict[str, Any]


def configured(change: Callable[[Settings], None]) -> Callable[[Site], None]:
    """Plant a change of Prometheus's configuration. It starts again with it: nothing here reloads it.

    Args:
        change: Changes the configuration in place.

    Returns:
        What plants it.
    """

    def plant(site: Site) -> None:
        where = PROMETHEUS.namespace(site.config)
        found = site.kube.get("v1", "ConfigMap", PROMETHEUS.name, where)
        if found is None:
            raise KubeError(
                f"there is no ConfigMap {where}/{PROMETHEUS.name}",
                status=404,
                remedy="plant it where Istio's Prometheus addon runs",
            )
        settings = yaml.safe_load(found["data"][FILE])
        change(settings)
        text = yaml.safe_dump(settings, sort_keys=False)
        site.changes.patch(ObjectRef("v1", "ConfigMap", where, PROMETHEUS.name), {"data": {FILE: text}})
        restart(site.kube, where, PODS)

    return plant


def every_10_minutes(settings: Settings) -> None:
    """Scrape seldom: nothing is scraped twice while a check waits."""
    settings["global"]["scrape_interval"] = "10m"


def twice(settings: Settings) -> None:
    """A second job scrapes the same pods, so every counter is there twice."""
    jobs = settings["scrape_configs"]
    [job] = [each for each in jobs if each["job_name"] == JOB]
    jobs.append({**copy.deepcopy(job), "job_name": f"{JOB}-again"})


def without_codes(settings: Settings) -> None:
    """The label that tells response codes apart is dropped."""
    for job in settings["scrape_configs"]:
        job.setdefault("metric_relabel_configs", []).append({"action": "labeldrop", "regex": "response_code"})


def without_buckets(settings: Settings) -> None:
    """The buckets of the requests' durations are dropped, which are most of Istio's series."""
    _drop(settings, "istio_request_duration_milliseconds_bucket")


def without_istiod(settings: Settings) -> None:
    """What istiod tells of its pushes, its certificates and its configuration is dropped."""
    _drop(settings, "pilot_.+|citadel_.+|galley_.+")


def _drop(settings: Settings, names: str) -> None:
    for job in settings["scrape_configs"]:
        rule = {"action": "drop", "source_labels": ["__name__"], "regex": names}
        job.setdefault("metric_relabel_configs", []).append(rule)


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
