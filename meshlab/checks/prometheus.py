"""What Prometheus counts: the document's three queries for requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from meshlab.addons.explain import explain_miss
from meshlab.addons.query import PrometheusClient, Sample
from meshlab.checks.base import judged
from meshlab.checks.scrape import REQUESTS
from meshlab.errors import WaitTimeout
from meshlab.results import CheckResult
from meshlab.waiting import Clock, wait

Edge = tuple[str, str]  # the workloads that call and are called
REPORTERS = ("source", "destination")
SCRAPES = 2  # of a series, before anything is judged
NO_RESPONSE = "000"

SELECTORS: Mapping[str, str] = {  # the document's queries
    "prometheus.requests-total": REQUESTS,
    "prometheus.code-200": REQUESTS + '{response_code="200"}',
    "prometheus.sleep-to-productpage": REQUESTS + '{source_app="sleep",destination_app="productpage"}',
}


@dataclass(frozen=True)
class Sending:
    """The traffic that is under way while Prometheus is asked.

    sent: HTTP status → requests from sleep to productpage since the baseline; asked again and again while
    the loop runs. baseline: what the sidecars had counted of that pair before, (reporter, response code) →
    value. under_way: requests that may be counted by a sidecar before the loop has heard of their end, one
    per loop.
    """

    sent: Callable[[], Mapping[str, int]]
    baseline: Mapping[tuple[str, str], float]
    under_way: int = 1


def requests_total(
    client: PrometheusClient,
    namespace: str,
    edges: Sequence[Edge],
    sending: Sending,
    *,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """`istio_requests_total`: each edge of the application is counted by both reporters, with values that
    fit the traffic.

    edges: workload pairs that must be there; the first must be sleep's call of productpage. The load must
    go on while this runs. Judged once, after every expected series was scraped twice since the start (or
    after `timeout` seconds, when the missing ones are explained). Evidence: `query`, table `series`,
    `sent_before`, `sent_after`.
    """
    return _counted("prometheus.requests-total", client, namespace, edges, sending, None, timeout, clock)


def code_200(
    client: PrometheusClient,
    namespace: str,
    edges: Sequence[Edge],
    sending: Sending,
    *,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """`istio_requests_total{response_code="200"}`: as `requests_total`, held against the requests that got
    a 200.

    Evidence as there, and `other_codes`: what was counted with another code, by code.
    """
    return _counted("prometheus.code-200", client, namespace, edges, sending, "200", timeout, clock)


def sleep_to_productpage(
    client: PrometheusClient,
    namespace: str,
    edge: Edge,
    sending: Sending,
    *,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """`istio_requests_total{source_app="sleep",destination_app="productpage"}`: counted on both sides, no
    other pair."""
    return _counted(
        "prometheus.sleep-to-productpage", client, namespace, [edge], sending, None, timeout, clock
    )


def _counted(
    check_id: str,
    client: PrometheusClient,
    namespace: str,
    edges: Sequence[Edge],
    sending: Sending,
    code: str | None,
    timeout: float,
    clock: Clock | None,
) -> CheckResult:
    """One of the document's queries: wait until each expected series was scraped twice, ask once, judge
    once."""
    selector = SELECTORS[check_id]
    low = _requests(sending.sent(), code, unanswered=False)
    missing = _await_series(client, selector, namespace, edges, timeout, clock)
    found = client.query(selector)
    high = _requests(sending.sent(), code, unanswered=True) + sending.under_way
    problems = [_explained(client, namespace, edge, reporter, code) for edge, reporter in missing]
    problems += judge_values(found, namespace, edges, low, high, _baseline(sending, code))
    evidence: dict[str, object] = {
        "query": selector,
        "series": [_series_row(sample) for sample in found],
        "sent_before": low,
        "sent_after": high - sending.under_way,
    }
    others = ""
    if code is not None:
        other = client.query(f'sum by (response_code) ({REQUESTS}{{response_code!="{code}"}})')
        evidence["other_codes"] = {s.labels.get("response_code", ""): s.value for s in other}
        others = "; other codes: " + (
            ", ".join(f"{s.labels.get('response_code')}: {s.value:.0f}" for s in other) or "none"
        )
    told = value_of(found, namespace, edges[0], "source")
    seen = len({(e, r) for e in edges for r in REPORTERS if _of(found, namespace, e, r)})
    return judged(
        check_id,
        problems,
        f"{len(found)} series, {seen} of {2 * len(edges)} expected edges and reporters; sleep to productpage "
        f"{told - _baseline(sending, code)['source']:.0f} requests, {low} to {high} sent meanwhile{others}",
        evidence,
        remedy="keep the traffic loop running; the nearest series above names the label that differs",
    )


def judge_values(
    found: Sequence[Sample],
    namespace: str,
    edges: Sequence[Edge],
    low: int,
    high: int,
    baseline: Mapping[str, float],
) -> list[str]:
    """What is wrong with the values of the expected edges; a missing edge is not told again here.

    low: requests that were sent before the last two scrapes, so that they must be counted. high: sent when
    the answer had come. baseline: reporter → what sleep's call of productpage had before. The source can't
    count more than was sent; a destination counts retries, too. Each page asks every backend of
    productpage at least once, so a backend's edges together can't be below `low`.
    """
    problems = []
    first = edges[0]
    for reporter in REPORTERS:
        mine = _of(found, namespace, first, reporter)
        rise = value_of(found, namespace, first, reporter) - baseline[reporter]
        if mine and rise < low:
            problems.append(f"{_named(first, reporter)} counts {rise:.0f} requests, {low} were sent before")
        if mine and reporter == "source" and rise > high:
            problems.append(f"{_named(first, reporter)} counts {rise:.0f} requests, only {high} were sent")
    for edge in edges:
        for reporter in REPORTERS:
            if _of(found, namespace, edge, reporter) and value_of(found, namespace, edge, reporter) <= 0:
                problems.append(f"{_named(edge, reporter)} counts no request")
    for backend, members in _backends(first[1], edges).items():
        total = sum(value_of(found, namespace, edge, "source") for edge in members)
        if total < low and all(_of(found, namespace, edge, "source") for edge in members):
            problems.append(f"{first[1]} asked {backend} {total:.0f} times for {low} pages")
    return problems


def value_of(found: Sequence[Sample], namespace: str, edge: Edge, reporter: str) -> float:
    """What an edge counts in all its series (several pods, response codes or flags), 0 without any."""
    return sum(sample.value for sample in _of(found, namespace, edge, reporter))


def _of(found: Sequence[Sample], namespace: str, edge: Edge, reporter: str) -> list[Sample]:
    return [sample for sample in found if _is_edge(sample.labels, namespace, edge, reporter)]


def _is_edge(labels: Mapping[str, str], namespace: str, edge: Edge, reporter: str) -> bool:
    wanted = {
        "reporter": reporter,
        "source_workload": edge[0],
        "source_workload_namespace": namespace,
        "destination_workload": edge[1],
        "destination_workload_namespace": namespace,
    }
    return wanted.items() <= labels.items()


def _backends(workload: str, edges: Sequence[Edge]) -> dict[str, list[Edge]]:
    """Application → edges from the workload to its versions (reviews-v1, -v2 and -v3 are one application)."""
    grouped: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge[0] == workload:
            grouped.setdefault(edge[1].rpartition("-")[0], []).append(edge)
    return grouped


def _await_series(
    client: PrometheusClient,
    selector: str,
    namespace: str,
    edges: Sequence[Edge],
    timeout: float,
    clock: Clock | None,
) -> list[tuple[Edge, str]]:
    """Wait until each expected series was scraped twice since now; returns those that were not, after the
    deadline."""
    since = now(client)
    expected = [(edge, reporter) for edge in edges for reporter in REPORTERS]
    last = expected

    def look() -> list[tuple[Edge, str]]:
        nonlocal last
        at = now(client)
        series = client.range_samples(selector, max(at - since, 1.0), at=at)
        fresh = [s.labels for s in series if sum(when > since for when, _ in s.points) >= SCRAPES]
        last = [(e, r) for e, r in expected if not any(_is_edge(labels, namespace, e, r) for labels in fresh)]
        return last

    try:
        wait(
            f"{SCRAPES} scrapes of each series of {selector}",
            look,
            ready=lambda missing: not missing,
            describe=lambda missing: f"{len(missing)} of {len(expected)} not yet",
            timeout=timeout,
            clock=clock,
        )
    except WaitTimeout:
        if not last:
            raise
    return last


def now(client: PrometheusClient) -> float:
    """Prometheus's own time, seconds since the epoch: this machine's clock may differ from the cluster's."""
    return client.query("time()")[0].value


def _explained(client: PrometheusClient, namespace: str, edge: Edge, reporter: str, code: str | None) -> str:
    matchers = {
        "reporter": reporter,
        "source_workload": edge[0],
        "destination_workload": edge[1],
        "source_workload_namespace": namespace,
        "destination_workload_namespace": namespace,
    }
    if code is not None:
        matchers["response_code"] = code
    inner = ",".join(f'{label}="{value}"' for label, value in matchers.items())
    return f"{_named(edge, reporter)} has no fresh series: {explain_miss(client, f'{REQUESTS}{{{inner}}}')}"


def _requests(by_status: Mapping[str, int], code: str | None, *, unanswered: bool) -> int:
    if code is not None:
        return by_status.get(code, 0)
    return sum(count for status, count in by_status.items() if unanswered or status != NO_RESPONSE)


def _baseline(sending: Sending, code: str | None) -> dict[str, float]:
    return {
        reporter: sum(
            value
            for (who, status), value in sending.baseline.items()
            if who == reporter and code in (None, status)
        )
        for reporter in REPORTERS
    }


def _named(edge: Edge, reporter: str) -> str:
    return f"{edge[0]} → {edge[1]} ({reporter})"


def _series_row(sample: Sample) -> dict[str, object]:
    labels = sample.labels
    return {
        "reporter": labels.get("reporter", ""),
        "source": labels.get("source_workload", ""),
        "destination": labels.get("destination_workload", ""),
        "response_code": labels.get("response_code", ""),
        "connection_security_policy": labels.get("connection_security_policy", ""),
        "response_flags": labels.get("response_flags", ""),
        "pod": labels.get("pod", ""),
        "value": sample.value,
    }
