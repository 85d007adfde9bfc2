"""Faults of Prometheus's own configuration: what it scrapes, how often, and what it keeps."""

from __future__ import annotations

from meshlab.faults.fault import QUERIES, SEEN, Fault
from meshlab.faults.scraping import (
    configured,
    every_10_minutes,
    twice,
    without_buckets,
    without_codes,
    without_istiod,
)

CONFIGURATION = "ConfigMap SYSTEM/prometheus"

SCRAPES = (
    Fault(
        "scraped-every-10-minutes",
        "Prometheus scrapes every ten minutes",
        must=("prometheus.targets",),
        may=tuple(check for check in SEEN if not check.startswith("jaeger.")),
        groups=("load",),
        plant=configured(every_10_minutes),
        restarts_prometheus=True,
        scope="mesh",
        culprit=CONFIGURATION,
    ),
    Fault(
        "scraped-twice",
        "Two of Prometheus's jobs scrape the same pods",
        must=QUERIES,
        # The second job's series are new, so that all that was ever counted seems to have been sent since the load began.
        may=("prometheus.reconcile", "graph.edges", "graph.agreement"),
        groups=("load",),
        plant=configured(twice),
        restarts_prometheus=True,
        scope="mesh",
        culprit=CONFIGURATION,
    ),
    Fault(
        "label-dropped",
        "Prometheus drops the label with the response code",
        must=QUERIES,
        may=("prometheus.reconcile", "graph.edges", "graph.agreement"),
        groups=("load",),
        plant=configured(without_codes),
        restarts_prometheus=True,
        scope="mesh",
        culprit=CONFIGURATION,
    ),
    Fault(
        "durations-dropped",
        "Prometheus drops the buckets of the requests' durations",
        must=("grafana.service", "grafana.workload", "grafana.all-panels"),
        may=("grafana.mesh",),
        groups=("app", "grafana"),
        plant=configured(without_buckets),
        restarts_prometheus=True,
        scope="mesh",
        culprit=CONFIGURATION,
    ),
    Fault(
        "istiod-not-measured",
        "Prometheus drops what istiod tells of itself",
        must=("grafana.all-panels",),
        groups=("app", "grafana"),
        plant=configured(without_istiod),
        restarts_prometheus=True,
        scope="mesh",
        culprit=CONFIGURATION,
    ),
)
