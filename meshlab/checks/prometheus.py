"""What Prometheus counts: the document's three queries for requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from meshlab.checks.base import judged
from meshlab.core.errors import WaitTimeout
from meshlab.core.waiting import Clock, wait
from meshlab.envoy.stats import REQUESTS
from meshlab.observability.addons.explain import explain_miss
from meshlab.observability.addons.query import PrometheusClient, RangeSamples, Sample, key_of
from meshlab.observability.addons.scraping import REPORTERS
from meshlab.run.results import CheckResult

Edge = tuple[str, str]  # the workloads that call and are called
SCRAPES = 2  # of a series, before anything is judged
STALE_SECONDS = 300.0  # how far back an instant query looks for a series' last sample
TIMESTAMP_SLACK = 0.01  # seconds by which Prometheus moves a scrape's timestamp to align it
SCRAPE_SECONDS = 2.0  # within which the sidecar has answered a scrape; its timestamp is of the scrape's begin
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
    reporters: Sequence[str] = REPORTERS,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """`istio_requests_total`.

    Each edge of the application is counted by both reporters, with values that fit the traffic.

    reporters: whose side the Prometheus keeps.
    edges: workload pairs that must be there; the first must be sleep's call of productpage. The load must
    go on while this runs. Judged once, after every expected series was scraped twice since the start (or
    after `timeout` seconds, when the missing ones are explained). Evidence: `query`, `at`, tables
    `series` (with the time of each scrape) and `sent` (what had been sent when).
    """
    return _counted(
        "prometheus.requests-total", client, namespace, edges, sending, None, reporters, timeout, clock
    )


def code_200(
    client: PrometheusClient,
    namespace: str,
    edges: Sequence[Edge],
    sending: Sending,
    *,
    reporters: Sequence[str] = REPORTERS,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """`istio_requests_total{response_code="200"}`: as `requests_total`, held against the requests that got a 200.

    Evidence as there, and `other_codes`: what was counted with another code, by code.
    """
    return _counted(
        "prometheus.code-200", client, namespace, edges, sending, "200", reporters, timeout, clock
    )


def sleep_to_productpage(
    client: PrometheusClient,
    namespace: str,
    edge: Edge,
    sending: Sending,
    *,
    reporters: Sequence[str] = REPORTERS,
    timeout: float = 60,
    clock: Clock | None = None,
) -> CheckResult:
    """`istio_requests_total{source_app="sleep",destination_app="productpage"}`.

    Counted on both sides, no other pair.
    """
    return _counted(
        "prometheus.sleep-to-productpage", client, namespace, [edge], sending, None, reporters, timeout, clock
    )


def _counted(
    check_id: str,
    client: PrometheusClient,
    namespace: str,
    edges: Sequence[Edge],
    sending: Sending,
    code: str | None,
    reporters: Sequence[str],
    timeout: float,
    clock: Clock | None,
) -> CheckResult:
    """One of the document's queries: wait until each expected series was scraped twice, ask once, judge once."""
    selector = SELECTORS[check_id]
    log = SentLog(client, sending, code)
    missing = _await_series(client, selector, namespace, edges, log, reporters, timeout, clock)
    at = log.mark()
    found = client.query(selector, at=at)
    scraped = scrape_times(found, client.range_samples(selector, STALE_SECONDS, at=at))
    log.mark()
    baseline = _baseline(sending, code)
    problems = [_explained(client, namespace, edge, reporter, code) for edge, reporter in missing]
    problems += judge_values(scraped, namespace, edges, log, baseline)
    evidence: dict[str, object] = {
        "query": selector,
        "at": at,
        "series": [_series_row(sample) for sample in scraped],
        "sent": [asdict(mark) for mark in log.marks],
    }
    others = ""
    if code is not None:
        other = client.query(f'sum by (response_code) ({REQUESTS}{{response_code!="{code}"}})')
        evidence["other_codes"] = {s.labels.get("response_code", ""): s.value for s in other}
        others = "; other codes: " + (
            ", ".join(f"{s.labels.get('response_code')}: {s.value:.0f}" for s in other) or "none"
        )
    first = _of(scraped, namespace, edges[0], reporters[0])
    seen = len({(e, r) for e in edges for r in reporters if _of(found, namespace, e, r)})
    return judged(
        check_id,
        problems,
        f"{len(found)} series, {seen} of {len(reporters) * len(edges)} expected edges and reporters; "
        f"{_told(first, edges[0], log, baseline[reporters[0]])}{others}",
        evidence,
        remedy="keep the traffic loop running; the nearest series above names the label that differs",
    )


@dataclass(frozen=True)
class Mark:
    """What had been sent at a time of Prometheus's clock, of the response code in question.

    ended: requests that had ended before it. begun: requests that had begun by a moment after it. pages:
    requests that had been answered 200 before it, whatever code is in question. Counted are requests whose
    answer came from the application (see `answered`).
    """

    at: float
    ended: int
    begun: int
    pages: int


@dataclass
class SentLog:
    """How much had been sent when: what a scrape must have counted, and what it can't have."""

    client: PrometheusClient
    sending: Sending
    code: str | None
    marks: list[Mark] = field(default_factory=list)

    def mark(self) -> float:
        """Note what has been sent now; returns Prometheus's time."""
        before = self.sending.sent()
        at = now(self.client)
        begun = _requests(self.sending.sent(), self.code, unanswered=True) + self.sending.under_way
        ended = _requests(before, self.code, unanswered=False)
        self.marks.append(Mark(at, ended, begun, before.get("200", 0)))
        return at

    def least(self, scraped: float) -> int:
        """Requests that a scrape begun at that time must have counted."""
        return max((mark.ended for mark in self._before(scraped)), default=0)

    def most(self, scraped: float) -> int:
        """Requests that a scrape begun at that time can have counted at most."""
        ended = [mark.begun for mark in self.marks if mark.at >= scraped + SCRAPE_SECONDS]
        return min(ended, default=self.marks[-1].begun)

    def pages(self, scraped: float) -> int:
        """Pages that productpage had answered before a scrape begun at that time."""
        return max((mark.pages for mark in self._before(scraped)), default=0)

    def _before(self, scraped: float) -> list[Mark]:
        return [mark for mark in self.marks if mark.at <= scraped - TIMESTAMP_SLACK]


def scrape_times(found: Sequence[Sample], raw: Sequence[RangeSamples]) -> list[Sample]:
    """The samples of an instant vector, each with the time at which it was scraped, as the raw samples tell."""
    times = {key_of(series.labels): series.points[-1][0] for series in raw if series.points}
    return [Sample(s.labels, s.value, times.get(key_of(s.labels), s.time)) for s in found]


def judge_values(
    found: Sequence[Sample],
    namespace: str,
    edges: Sequence[Edge],
    log: SentLog,
    baseline: Mapping[str, float],
) -> list[str]:
    """What is wrong with the values of the expected edges; a missing edge is not told again here.

    found: samples with the times at which they were scraped. baseline: reporter → what sleep's call of
    productpage had counted before. The source's count lies between what had been sent before its scrape
    and by its end; a destination counts retries, too. Each page asks every backend of productpage at least
    once, so a backend's edges together can't be below the pages that had been answered.
    """
    problems = []
    first = edges[0]
    for reporter in REPORTERS:
        mine = _of(found, namespace, first, reporter)
        if not mine:
            continue
        rise = sum(s.value for s in mine if answered(s.labels.get("response_code", ""))) - baseline[reporter]
        least, most = log.least(min(s.time for s in mine)), log.most(max(s.time for s in mine))
        if rise < least:
            problems.append(f"{_named(first, reporter)} counts {rise:.0f} requests, {least} were sent before")
        if reporter == "source" and rise > most:
            problems.append(f"{_named(first, reporter)} counts {rise:.0f} requests, only {most} were sent")
    for edge in edges:
        for reporter in REPORTERS:
            if _of(found, namespace, edge, reporter) and value_of(found, namespace, edge, reporter) <= 0:
                problems.append(f"{_named(edge, reporter)} counts no request")
    for backend, members in _backends(first[1], edges).items():
        mine = [s for edge in members for s in _of(found, namespace, edge, "source")]
        asked = sum(s.value for s in mine)
        pages = log.pages(min((s.time for s in mine), default=0.0))
        if asked < pages:
            problems.append(f"{first[1]} asked {backend} {asked:.0f} times for {pages} pages")
    return problems


def _told(mine: Sequence[Sample], edge: Edge, log: SentLog, baseline: float) -> str:
    if not mine:
        return f"no call of {edge[1]} by {edge[0]}"
    rise = sum(s.value for s in mine if answered(s.labels.get("response_code", ""))) - baseline
    least, most = log.least(min(s.time for s in mine)), log.most(max(s.time for s in mine))
    return f"{edge[0]} to {edge[1]} {rise:.0f} requests at the last scrape, {least} to {most} sent by then"


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
    log: SentLog,
    reporters: Sequence[str],
    timeout: float,
    clock: Clock | None,
) -> list[tuple[Edge, str]]:
    """Wait until each expected series was scraped twice since now.

    Returns those that were not, after the deadline.
    """
    since = log.mark()
    expected = [(edge, reporter) for edge in edges for reporter in reporters]
    last: list[tuple[Edge, str]] = []

    def look() -> list[tuple[Edge, str]]:
        nonlocal last
        last = []  # a Prometheus that stops answering is not judged by what it said before
        at = log.mark()
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


def answered(code: str) -> bool:
    """Whether a response code is surely the application's.

    A reply of the caller's own proxy (503, no code) reached no workload, so it is in no edge.
    `prometheus.reconcile` counts those.
    """
    return code.isdigit() and 100 <= int(code) < 500


def _requests(by_status: Mapping[str, int], code: str | None, *, unanswered: bool) -> int:
    """Requests with a code, or (None) all that were answered; unanswered.

    And those that got no response, which the sidecar may have counted with one.
    """
    wanted = {
        status: count
        for status, count in by_status.items()
        if status == code or (code is None and answered(status)) or (unanswered and status == NO_RESPONSE)
    }
    return sum(wanted.values())


def _baseline(sending: Sending, code: str | None) -> dict[str, float]:
    return {
        reporter: sum(
            value
            for (who, status), value in sending.baseline.items()
            if who == reporter and (status == code or (code is None and answered(status)))
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
        "scraped": sample.time,
    }
