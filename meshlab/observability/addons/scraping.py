"""How a Prometheus scrapes our pods, read from what it has: how often, and by which labels it knows a pod.

Istio's addon, Prometheus Operator and older addons differ in the interval and in the labels' names; a Prometheus may as
well scrape no sidecar at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import yaml

from meshlab import manifests
from meshlab.core.errors import IstioError, QueryError
from meshlab.core.waiting import Clock, wait_or_last
from meshlab.observability.addons.query import PrometheusClient
from meshlab.observability.dashboards.intervals import seconds as duration

# Labels that hold a pod's name and its namespace, today's first: relabelling by Istio's addon and by Prometheus Operator,
# by addons up to Istio 1.7, by Istio's samples for the Operator, and what a target's own label had to give way to.
PODS = ("pod", "kubernetes_pod_name", "pod_name", "exported_pod")
NAMESPACES = ("namespace", "kubernetes_namespace", "exported_namespace")
REPORTERS = ("source", "destination")  # whose sidecar counts a request
COUNTED = "istio_requests_total"
USUAL_SECONDS = 15.0  # between scrapes, in Istio's addon
LOOKED_BACK = 600.0  # seconds of samples that tell the interval
SLACK = 10.0  # seconds beside the scrapes that a wait for them has


@dataclass(frozen=True)
class Scraping:
    """How our pods are scraped.

    Attributes:
        seconds: Between two scrapes.
        pod, namespace: Names of the labels that hold the pod's name and its namespace; the second may be "".
        reporters: Whose side of a request it keeps: both, unless its scrape job drops one.
    """

    seconds: float = USUAL_SECONDS
    pod: str = "pod"
    namespace: str = "namespace"
    reporters: tuple[str, ...] = REPORTERS

    def up(self, namespace: str) -> str:
        """Return the selector of `up` for the pods of a namespace.

        Args:
            namespace: Its name.
        """
        return f'up{{{self.namespace}="{namespace}"}}' if self.namespace else f'up{{{self.pod}!=""}}'

    def patient(self, timeout: float) -> float:
        """Return the seconds that a wait for new scrapes has: the timeout, more where scrapes are rare.

        Args:
            timeout: The one of the settings, in seconds.
        """
        return max(timeout, 3 * self.seconds + SLACK)


USUAL = Scraping()


def read_scraping(
    client: PrometheusClient,
    namespace: str,
    pods: Sequence[str],
    *,
    timeout: float,
    clock: Clock | None = None,
) -> Scraping | None:
    """Read how a Prometheus scrapes some pods.

    Args:
        client: Asks it.
        namespace: Of the pods.
        pods: Their names: at least one has a sidecar.
        timeout: Seconds until the first of them is scraped; it may be a new one.
        clock: Of the wait; the real one where not given.

    Returns:
        How; None where it scrapes other things, but none of them.

    Raises:
        QueryError: Prometheus refuses a query.
        WaitTimeout: It did not answer, or scrapes nothing at all.
    """

    def look() -> tuple[Scraping | None, float]:
        found = _labels(client, namespace, pods)
        return found, sum(each.value for each in client.query("count(up)"))

    found, others = wait_or_last(
        "the first scrape of a pod of ours",
        look,
        ready=lambda seen: seen[0] is not None,
        describe=lambda seen: f"{seen[1]:.0f} targets, none of them ours",
        timeout=timeout,
        delay=2.0,
        clock=clock,
        remedy="look at Prometheus's pod and its log",
    )
    if found is not None or not others:
        return found or USUAL  # one that scrapes nothing is broken, which each check says
    counted = client.query(f'count(istio_requests_total{{destination_workload_namespace="{namespace}"}})')
    return USUAL if counted else None


def job_names(client: PrometheusClient) -> frozenset[str] | None:
    """Read the names of a Prometheus's scrape jobs.

    Args:
        client: Asks it.

    Returns:
        The names; None where its configuration can't be read, or is told to nobody.
    """
    try:
        known = yaml.safe_load(client.configuration())
        jobs = frozenset(str(each.get("job_name")) for each in known.get("scrape_configs") or ())
    except (QueryError, yaml.YAMLError, AttributeError, TypeError):
        return None
    return jobs if known else None


def scrape_job() -> str:
    """Return the scrape job that makes a Prometheus scrape sidecars, as a remedy."""
    job = yaml.safe_dump([manifests.read("scrape-sidecars")], sort_keys=False, width=1000)
    return f"have it scrape sidecars; by scrape_configs:\n{job}"


def _labels(client: PrometheusClient, namespace: str, pods: Sequence[str]) -> Scraping | None:
    those = "|".join(pods)
    for label in PODS:
        found = client.query(f'up{{{label}=~"{those}"}}')
        if found:
            labels = found[0].labels
            of_namespace = next((name for name in NAMESPACES if labels.get(name) == namespace), "")
            seconds = _interval(client, f'up{{{label}=~"{those}"}}')
            return Scraping(seconds, label, of_namespace, _kept(client, labels.get("job", "")))
    return None


def _interval(client: PrometheusClient, selector: str) -> float:
    """Seconds between the scrapes of the pods; of all jobs, where a pod was scraped less than twice so far."""
    gaps = [
        median(later - earlier for (earlier, _), (later, _) in pairwise(series.points))
        for series in client.range_samples(selector, LOOKED_BACK)
        if len(series.points) > 1
    ]
    if gaps:
        return round(max(gaps), 1)
    try:
        known = yaml.safe_load(client.configuration()) or {}
        return duration(str((known.get("global") or {}).get("scrape_interval") or f"{USUAL_SECONDS:g}s"))
    except (QueryError, IstioError, yaml.YAMLError, AttributeError):
        return USUAL_SECONDS  # Google's managed Prometheus tells nobody its configuration


def _kept(client: PrometheusClient, job: str) -> tuple[str, ...]:
    """The reporters whose series the scrape job keeps; both where its configuration can't be read."""
    try:
        known = yaml.safe_load(client.configuration()) or {}
        jobs = [each for each in known.get("scrape_configs") or () if each.get("job_name") == job]
        rules = [rule for each in jobs for rule in each.get("metric_relabel_configs") or ()]
        return tuple(each for each in REPORTERS if not _dropped(rules, each)) or REPORTERS
    except (QueryError, IstioError, yaml.YAMLError, AttributeError, re.error):
        return REPORTERS


def _dropped(rules: Sequence[Mapping[str, Any]], reporter: str) -> bool:
    """Whether a rule that looks at nothing but the name and the reporter drops that reporter's series."""
    labels = {"__name__": COUNTED, "reporter": reporter}
    for rule in rules:
        looked_at = rule.get("source_labels") or ()
        if "reporter" not in looked_at or not labels.keys() >= set(looked_at):
            continue
        value = str(rule.get("separator", ";")).join(labels[each] for each in looked_at)
        matches = re.fullmatch(str(rule.get("regex", "(.*)")), value) is not None
        if matches == {"drop": True, "keep": False}.get(rule.get("action", "replace")):
            return True
    return False
