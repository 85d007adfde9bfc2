"""What is taken of objects that have no `spec`: no more than can explain a red check, so that no secret is among it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

INJECTS = "sidecar-injector.istio.io"  # how the names of Istio's injection webhooks end
SCRAPES = "prometheus.yml"  # the key of Prometheus's configuration in its ConfigMap
BROKEN = "broken"  # stands for a configuration that can't be read
OF_A_JOB = (
    "job_name",
    "scrape_interval",
    "metrics_path",
    "scheme",
    "relabel_configs",
    "metric_relabel_configs",
)
OF_A_SEARCH = ("role", "namespaces", "selectors")  # its credentials are left out


def of_prometheus(document: Mapping[str, Any]) -> dict[str, Any]:
    """Take how often Prometheus scrapes, and what; nothing of a ConfigMap that is not its configuration."""
    text = (document.get("data") or {}).get(SCRAPES)
    if not text:
        return {}
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError:
        return {BROKEN: f"{SCRAPES} is no YAML"}
    if not isinstance(settings, dict):
        return {}
    jobs = [each for each in settings.get("scrape_configs") or () if isinstance(each, dict)]
    often = settings.get("global") or {}
    return {
        "scrape_interval": often.get("scrape_interval", "1m"),
        "scrape_configs": [_job(each) for each in jobs],
    }


def _job(job: Mapping[str, Any]) -> dict[str, Any]:
    searches = [each for each in job.get("kubernetes_sd_configs") or () if isinstance(each, dict)]
    kept = {key: job[key] for key in OF_A_JOB if key in job}
    return kept | {
        "kubernetes_sd_configs": [{key: s[key] for key in OF_A_SEARCH if key in s} for s in searches]
    }


def of_webhooks(document: Mapping[str, Any]) -> dict[str, Any]:
    """Take whom Istio's injection webhooks call, and what becomes of a pod when nobody answers."""
    hooks = [each for each in document.get("webhooks") or () if str(each.get("name", "")).endswith(INJECTS)]
    return (
        {
            "webhooks": [
                {
                    "name": each["name"],
                    "failurePolicy": each.get("failurePolicy", "Fail"),
                    "service": _service((each.get("clientConfig") or {}).get("service")),
                }
                for each in hooks
            ]
        }
        if hooks
        else {}
    )


def _service(called: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: str(called.get(key, "")) for key in ("namespace", "name")} if called else {}


PARTS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "ConfigMap": of_prometheus,
    "MutatingWebhookConfiguration": of_webhooks,
}
