"""What the sidecars of sleep and productpage have counted at one time, and what Prometheus has scraped of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from meshlab.core.errors import QueryError, WaitTimeout
from meshlab.core.waiting import Clock, wait
from meshlab.envoy.admin import Attempts
from meshlab.envoy.stats import REQUESTS, Sample, SidecarReader, families
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary
from meshlab.observability.addons.query import PrometheusClient, RangeSamples
from meshlab.observability.addons.scraping import REPORTERS, USUAL, Scraping
from meshlab.run.results import Table

SOURCE_APP, DESTINATION_APP = "sleep", "productpage"
SETTLED = 2  # reads in a row that must agree


@dataclass(frozen=True)
class Count:
    """One raw counter of a sidecar: the pod it was read from, its series, and the two labels that are compared."""

    pod: str
    reporter: str
    response_code: str
    series: str
    value: float


@dataclass(frozen=True)
class Snapshot:
    """What the sidecars of sleep and productpage had counted for that pair at one time, once nothing moved any more.

    pods: pod name → identity (uid and restarts); counters of another identity can't be compared. taken:
    Prometheus's or this machine's clock, seconds since the epoch. family: the names under which the
    sidecars export the counters.
    """

    taken: float
    pods: Mapping[str, str]
    counts: tuple[Count, ...]
    attempts: tuple[Attempts, ...]
    family: tuple[str, ...] = ()

    def same_as(self, other: Snapshot) -> bool:
        """Whether nothing was counted between the two."""
        return (self.pods, self.counts, self.attempts) == (other.pods, other.counts, other.attempts)

    def totals(self) -> dict[tuple[str, str], float]:
        """(reporter, response code) → value, summed over pods and series."""
        sums: dict[tuple[str, str], float] = defaultdict(float)
        for count in self.counts:
            sums[count.reporter, count.response_code] += count.value
        return dict(sums)


@dataclass(frozen=True)
class Scraped:
    """What Prometheus had scraped of the same counters, after two scrapes in a row agreed: (reporter, code) → value.

    falls: counters that fell or vanished between the two snapshots, as its scrapes tell: the window is void. reporters: whose
    side it keeps.
    """

    totals: Mapping[tuple[str, str], float]
    scrapes: int = 2
    series: Table = field(default_factory=list)
    falls: tuple[str, ...] = ()
    reporters: tuple[str, ...] = REPORTERS


def take_snapshot(
    kube: Kube,
    reader: SidecarReader,
    mesh: Mesh,
    *,
    timeout: float = 45,
    delay: float = 0.5,
    clock: Clock | None = None,
) -> Snapshot:
    """Read the sidecars of sleep and productpage until two reads in a row agree: the load is stopped and drained.

    Args:
        kube: Client of the cluster.
        reader: Reads sidecars.
        mesh: The facts of the mesh, with the app's namespace.
        timeout: Seconds.
        delay: Seconds between two reads.
        clock: Of the wait; the real one where not given.

    Returns:
        The counters.

    Raises:
        WaitTimeout: The counters go on moving: some load still runs.
        QueryError: A pod or its sidecar is missing.
        KubeError: The cluster does not answer.
    """
    before: list[Snapshot] = []

    def read() -> tuple[Snapshot, bool]:
        now = read_once(kube, reader, mesh)
        same = bool(before) and now.same_as(before[-1])
        before.append(now)
        return now, same

    snapshot, _ = wait(
        f"the counters of {SOURCE_APP} and {DESTINATION_APP} to stand still",
        read,
        ready=lambda state: state[1],
        describe=lambda state: f"{sum(c.value for c in state[0].counts):.0f} requests counted",
        timeout=timeout,
        delay=delay,
        clock=clock,
        remedy="stop the traffic loop before the counters are read, and let it drain",
    )
    return snapshot


def read_once(kube: Kube, reader: SidecarReader, mesh: Mesh) -> Snapshot:
    """One read of the sidecars, whether or not the counters still move."""
    namespace = mesh.namespace
    sources = _pods(kube, namespace, SOURCE_APP)
    destinations = _pods(kube, namespace, DESTINATION_APP)
    service = mesh.service_host(DESTINATION_APP)
    counts: list[Count] = []
    attempts: list[Attempts] = []
    names: set[str] = set()
    for reporter, pods in (("source", sources), ("destination", destinations)):
        for pod in pods:
            samples = [s for s in reader.stats(pod.name) if is_pair(s, reporter, namespace)]
            names.update(families(samples))
            counts += [Count(pod.name, reporter, s.get("response_code"), s.series, s.value) for s in samples]
    for pod in sources:
        attempts += reader.attempts(pod.name, service)
    return Snapshot(
        taken=time.time(),
        pods={pod.name: f"{pod.uid}, {pod.restarts} restarts" for pod in (*sources, *destinations)},
        counts=tuple(sorted(counts, key=lambda c: (c.pod, c.series))),
        attempts=tuple(sorted(attempts, key=lambda a: (a.cluster, a.endpoint))),
        family=tuple(sorted(names)),
    )


def is_pair(sample: Sample, reporter: str, namespace: str) -> bool:
    """Whether a counter is one of sleep's calls to productpage as this reporter tells it.

    The source names the service it called even where no endpoint could be reached; the destination names
    the caller.
    """
    if sample.get("reporter") != reporter:
        return False
    caller = (sample.get("source_workload"), sample.get("source_workload_namespace"))
    if caller != (SOURCE_APP, namespace):
        return False
    if reporter == "source":
        return sample.get("destination_service_name") == DESTINATION_APP
    return sample.get("destination_app") == DESTINATION_APP


def take_scraped(
    client: PrometheusClient,
    after: Snapshot,
    namespace: str,
    *,
    before: Snapshot | None = None,
    scraping: Scraping = USUAL,
    timeout: float = 60,
    clock: Clock | None = None,
) -> Scraped:
    """Read what Prometheus has of the counters that `after` read raw.

    It is read once each pod was scraped twice since, and both agree. Only series of the snapshot's pods
    count, and one that is not there counts as 0. When the deadline passes first, what was scraped last is
    returned, to be judged.

    Args:
        client: Asks Prometheus.
        after: The window's last snapshot.
        namespace: Of the application.
        before: The window's first snapshot; its time on, counters that fell are told.
        scraping: How the pods are scraped.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        Prometheus's totals.

    Raises:
        QueryError: Prometheus refuses a query.
        WaitTimeout: There was no answer at all.
    """
    since = client.query("time()")[0].value
    last: list[Scraped] = []

    def look() -> bool:
        last.clear()  # a Prometheus that stops answering is not judged by what it said before
        at = client.query("time()")[0].value
        window = max(at - since, 1.0)
        up = client.range_samples(scraping.up(namespace), window, at=at)
        scrapes: dict[str, int] = defaultdict(int)
        for each in up:
            pod = each.labels.get(scraping.pod, "")
            scrapes[pod] = max(scrapes[pod], sum(when > since for when, _ in each.points))
        series = [s for each in _selectors(namespace) for s in client.range_samples(each, window, at=at)]
        series = [s for s in series if s.labels.get(scraping.pod) in after.pods]
        last.append(_scraped(series, scraping, min((scrapes[pod] for pod in after.pods), default=0)))
        settled = all(len(s.points) >= SETTLED and s.points[-1][1] == s.points[-2][1] for s in series)
        return settled and last[-1].scrapes >= SETTLED

    try:
        wait(
            "two scrapes in a row that agree, of each pod that was read",
            look,
            ready=bool,
            describe=lambda _: f"{last[-1].scrapes} scrapes, {len(last[-1].series)} series",
            timeout=timeout,
            clock=clock,
        )
    except WaitTimeout:
        if not last:
            raise
    if before is None:
        return last[-1]
    return replace(
        last[-1], falls=_falls(client, after, namespace, scraping, since - (after.taken - before.taken))
    )


def _falls(
    client: PrometheusClient, after: Snapshot, namespace: str, scraping: Scraping, since: float
) -> tuple[str, ...]:
    """Counters that fell since then, or were missing from a scrape of their pod after they had been there."""
    at = client.query("time()")[0].value
    window = at - since
    scrapes: dict[tuple[str | None, ...], list[float]] = {
        _target(s, scraping): [when for when, value in s.points if value == 1]
        for s in client.range_samples(scraping.up(namespace), window, at=at)
    }
    found = []
    for series in (s for each in _selectors(namespace) for s in client.range_samples(each, window, at=at)):
        labels, times = series.labels, {when for when, _ in series.points}
        pod = labels.get(scraping.pod)
        what = f"{pod}, {labels.get('reporter')} reporter, code {labels.get('response_code')}"
        if pod not in after.pods or not times:
            continue
        found += [
            f"a counter ({what}) fell from {earlier:.0f} to {later:.0f} in between"
            for (_, earlier), (_, later) in pairwise(series.points)
            if later < earlier
        ]
        missed = [
            when
            for when in scrapes.get(_target(series, scraping), [])
            if when > min(times) and when not in times
        ]
        if missed:
            found.append(f"a counter ({what}) was gone in {len(missed)} scrapes")
    return tuple(found)


def _target(series: RangeSamples, scraping: Scraping) -> tuple[str | None, ...]:
    return tuple(series.labels.get(label) for label in ("job", "instance", scraping.pod))


def _selectors(namespace: str) -> tuple[str, str]:
    caller = f'source_workload="{SOURCE_APP}",source_workload_namespace="{namespace}"'
    return (
        f'{REQUESTS}{{reporter="source",{caller},destination_service_name="{DESTINATION_APP}"}}',
        f'{REQUESTS}{{reporter="destination",{caller},destination_app="{DESTINATION_APP}"}}',
    )


def _scraped(series: Sequence[RangeSamples], scraping: Scraping, scrapes: int) -> Scraped:
    totals: dict[tuple[str, str], float] = defaultdict(float)
    rows: Table = []
    for each in (s for s in series if s.points):
        when, value = each.points[-1]
        reporter, code = each.labels.get("reporter", ""), each.labels.get("response_code", "")
        totals[reporter, code] += value
        rows.append(
            {
                "pod": each.labels.get(scraping.pod, ""),
                "reporter": reporter,
                "response_code": code,
                "value": value,
                "scraped": when,
            }
        )
    return Scraped(dict(totals), scrapes, rows, reporters=scraping.reporters)


def _pods(kube: Kube, namespace: str, app: str) -> list[PodSummary]:
    found = [pod for pod in kube.pods(namespace, f"app={app}") if not pod.deleting]
    if not found:
        raise QueryError(
            f"there is no pod with app={app} in {namespace}",
            remedy="deploy Bookinfo and sleep first",
            retryable=False,
        )
    return found
