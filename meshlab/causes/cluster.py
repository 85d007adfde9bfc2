"""What the cluster's own objects do: injection webhooks, and the configuration of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshlab.causes.effects import Does, Told, World
from meshlab.causes.objects import Found
from meshlab.causes.parts import BROKEN

SELDOM = 120.0  # seconds between two scrapes from which on a look after a minute sees nothing new
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# How the names of the mesh's metrics begin: of proxies, and of istiod.
MEASURED = ("istio_", "envoy_", "pilot_", "citadel_", "galley_")
# Labels of Istio's standard metrics without which the document's queries find nothing.
LABELS = frozenset(
    f"{end}_{part}"
    for end in ("source", "destination")
    for part in ("app", "workload", "workload_namespace", "service", "service_name")
) | {"reporter", "response_code", "response_flags", "connection_security_policy"}


def of_webhooks(found: Found, world: World) -> Told:
    """Tell what injection webhooks do: without an endpoint, and with their failure ignored, pods get no sidecar."""
    if called := without_endpoint(found, world):
        yield (
            Does.NO_SIDECAR,
            frozenset(),
            f"failurePolicy Ignore, and {called} has no endpoint: pods start without a sidecar",
        )


def without_endpoint(found: Found, world: World) -> str:
    """Name the Service without a pod that an injection webhook calls, where its failure is ignored; "" for none."""
    for hook in found.spec.get("webhooks") or ():
        if not hook["service"] or hook["failurePolicy"] != "Ignore":
            continue
        name, namespace = hook["service"]["name"], hook["service"]["namespace"]
        known = next(
            (s for s in world.objects if (s.kind, s.namespace, s.name) == ("Service", namespace, name)), None
        )
        if known is None or not world.pods(namespace, known.spec.get("selector") or {}):
            return f"{namespace}/{name}"
    return ""


def of_config_map(found: Found, world: World) -> Told:
    """Tell what a ConfigMap does; only Prometheus's own is read."""
    if why := found.spec.get(BROKEN):
        yield Does.METRICS, frozenset(), why
    often = str(found.spec.get("scrape_interval", ""))
    if seconds(often) >= SELDOM:
        yield Does.METRICS, frozenset(), f"global scrape_interval is {often}"
    jobs = found.spec.get("scrape_configs") or []
    for why in (*_dropped(jobs), *_not_kept(jobs), *_doubled(jobs)):
        yield Does.METRICS, frozenset(), why


def _dropped(jobs: list[dict[str, Any]]) -> Iterator[str]:
    """Labels of the standard metrics that a job drops. Regular expressions are compared as text, not run."""
    for job in jobs:
        for rule in job.get("metric_relabel_configs") or ():
            named = frozenset(str(rule.get("regex", "")).strip("^$()").split("|"))
            if rule.get("action") == "labeldrop" and (lost := sorted(named & LABELS)):
                yield f"job {job.get('job_name')} drops the label {', '.join(lost)}"
                return


def _not_kept(jobs: list[dict[str, Any]]) -> Iterator[str]:
    """Metrics of the mesh that a job drops by their names."""
    for job in jobs:
        for rule in job.get("metric_relabel_configs") or ():
            names = str(rule.get("regex", "")).strip("^$()").split("|")
            lost = [name for name in names if name.startswith(MEASURED)]
            if rule.get("action") == "drop" and rule.get("source_labels") == ["__name__"] and lost:
                yield f"job {job.get('job_name')} drops the metrics {', '.join(lost)}"
                return


def _doubled(jobs: list[dict[str, Any]]) -> Iterator[str]:
    """Jobs that find the same targets, and choose the same of them."""
    for number, job in enumerate(jobs):
        for other in jobs[number + 1 :]:
            if job.get("kubernetes_sd_configs") and _targets(job) == _targets(other):
                yield f"jobs {job.get('job_name')} and {other.get('job_name')} scrape the same targets"


def _targets(job: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(
        job.get(key) for key in ("kubernetes_sd_configs", "relabel_configs", "metrics_path", "scheme")
    )


def seconds(text: str) -> float:
    """Read a duration as Prometheus writes it: 15s, 10m. 0 where it is none."""
    number = text.rstrip("".join(UNITS))
    unit = text[len(number) :]
    return float(number) * UNITS[unit] if unit in UNITS and number.replace(".", "", 1).isdigit() else 0.0
