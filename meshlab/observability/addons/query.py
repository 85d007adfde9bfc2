"""Ask Prometheus, by prometheus-api-client: answers as values, every failure as a QueryError."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from meshlab.core.access import OPEN, Access
from meshlab.core.errors import QueryError
from meshlab.core.http import LET_IN, Getter

TIMEOUT = 15  # seconds for each request; the library sets none
REMEDY = "check that Prometheus is Ready and that its port-forward is up"


SeriesKey = tuple[tuple[str, str], ...]  # a series' labels, sorted


def key_of(labels: Mapping[str, str]) -> SeriesKey:
    """Make a key of a series' labels."""
    return tuple(sorted(labels.items()))


Found = TypeVar("Found")


@dataclass(frozen=True)
class Sample:
    """One series of an instant vector. value: NaN and infinities as floats. time: seconds since the epoch."""

    labels: Mapping[str, str]
    value: float
    time: float


@dataclass(frozen=True)
class RangeSamples:
    """Samples of one series over time. points: (time in seconds since the epoch, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def has_value(self) -> bool:
        """Whether there is a number in it; NaN is none (0 of 0 requests), infinity is one."""
        return any(not math.isnan(value) for _, value in self.points)


@dataclass(frozen=True)
class Target:
    """What Prometheus scrapes.

    health: up, down or unknown. last_scrape: seconds since the epoch, 0 where never.
    """

    job: str
    instance: str
    pod: str
    namespace: str
    health: str
    last_error: str
    last_scrape: float
    url: str


class PrometheusClient:
    """Asks one Prometheus.

    It is safe for several threads: the library's connection is not, so each thread gets its own.

    url: of a port-forward, or with a path in front of its API. timeout: seconds for each request. why: asked when
    there is no connection; what stands between us and Prometheus may know the cause. Every method raises
    QueryError (retryable where trying again may help).
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: int = TIMEOUT,
        why: Callable[[], str] | None = None,
        access: Access = OPEN,
    ) -> None:
        self.url = url.rstrip("/")
        self._why = why or (lambda: "")
        self._timeout, self._access = timeout, access
        self._http = Getter(url, timeout=timeout, name="Prometheus", remedy=REMEDY, why=why, access=access)
        self._local = threading.local()

    def ready(self) -> None:
        """Return when Prometheus answers queries. Raises QueryError when it does not."""
        answer = self.query("vector(1)")
        if [sample.value for sample in answer] != [1.0]:
            raise QueryError(f"{self.url} answers vector(1) with {answer}", remedy=REMEDY)

    def query(self, promql: str, at: float | None = None) -> list[Sample]:
        """Ask an instant query.

        Args:
            promql: The query.
            at: Seconds since the epoch; now where None.

        Returns:
            The samples; a scalar is one sample without labels.
        """
        return self._ask(promql, lambda api: _samples(promql, api.custom_query(promql, params=_at(at))))

    def range_samples(
        self, selector: str, window_seconds: float, at: float | None = None
    ) -> list[RangeSamples]:
        """Read the samples that `selector[window]` has: as they were scraped, nothing computed.

        The window is open on its left, as in every range selector.

        Args:
            selector: Metric name and label matchers.
            window_seconds: The window's length.
            at: Its end, in seconds since the epoch; now where None.

        Returns:
            One entry a series.
        """
        promql = f"{selector}[{round(window_seconds * 1000)}ms]"
        return self._ask(
            promql, lambda api: [_range(each) for each in api.custom_query(promql, params=_at(at))]
        )

    def query_range(self, promql: str, start: float, end: float, step: float) -> list[RangeSamples]:
        """Ask a query's value at start, start + step, … up to end: what a chart shows.

        Args:
            promql: The query.
            start: Seconds since the epoch.
            end: Seconds since the epoch.
            step: Seconds.

        Returns:
            One entry a series.
        """
        first, last = (datetime.fromtimestamp(moment, UTC) for moment in (start, end))
        return self._ask(
            promql,
            lambda api: [_range(each) for each in api.custom_query_range(promql, first, last, f"{step:g}")],
        )

    def targets(self) -> list[Target]:
        """Every active target, sorted by job and instance."""
        found = self._ask(
            "targets",
            lambda api: [_target(each) for each in api.get_targets(state="active")["activeTargets"]],
        )
        return sorted(found, key=lambda each: (each.job, each.instance))

    def configuration(self) -> str:
        """Return its configuration as YAML; what is secret in it, Prometheus leaves out. Raises QueryError."""
        with self._http.reading("its configuration"):
            return str(self._http.json("/api/v1/status/config")["data"]["yaml"])

    def series(self, selector: str, *, since_seconds: float = 3600) -> list[dict[str, str]]:
        """List the series that match a selector.

        Args:
            selector: Label selector; all where not given.
            since_seconds: They must have had samples within so many seconds.

        Returns:
            Their label sets.
        """
        end = datetime.now(UTC)
        start = end - timedelta(seconds=since_seconds)
        return list(self._ask(selector, lambda api: api.get_series(start, end, params={"match[]": selector})))

    def label_values(self, label: str, selector: str | None = None) -> list[str]:
        """List the values of a label.

        Args:
            label: The label; `__name__` gives the metrics' names.
            selector: Only of series that match it.

        Returns:
            The values, sorted.
        """
        params = {"match[]": selector} if selector else None
        return sorted(self._ask(label, lambda api: api.get_label_values(label, params=params)))

    def _ask(self, what: str, call: Callable[[PrometheusConnect], Found]) -> Found:
        with _query_errors(what, self.url, self._why):
            return call(self._connection())

    def _connection(self) -> PrometheusConnect:
        if not hasattr(self._local, "api"):
            # Waiting is done where it is seen (meshlab.core.waiting), not by hidden retries.
            session = self._access.session()
            self._local.api = PrometheusConnect(
                self.url, session=session, timeout=self._timeout, retry=Retry(total=0)
            )
            self._access.mount(session, self.url)  # the library has put an adapter of its own there
        return self._local.api


@contextmanager
def _query_errors(what: str, url: str, why: Callable[[], str]) -> Iterator[None]:
    """Turn what the library and requests raise into a QueryError.

    A refused query can't heal, everything else may.
    """
    try:
        yield
    except PrometheusApiClientException as problem:
        refused = any(f"Status Code {code} " in str(problem) for code in (400, 422))
        shut = any(f"Status Code {code} " in str(problem) for code in (401, 403))
        raise QueryError(
            f"Prometheus refused {what}: {problem}",
            remedy="correct the query" if refused else LET_IN if shut else REMEDY,
            retryable=not (refused or shut),
        ) from problem
    except requests.JSONDecodeError as problem:
        remedy = "check what listens there"
        raise QueryError(f"{url} answered {what} with no JSON", remedy=remedy) from problem
    except requests.RequestException as problem:
        cause = why() or str(problem)
        raise QueryError(
            f"Prometheus at {url} can't be asked for {what}: {cause}", remedy=REMEDY
        ) from problem
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        message = f"{url} answered {what} in a form that is none of Prometheus's: {problem!r}"
        raise QueryError(message, remedy=REMEDY) from problem


def _at(at: float | None) -> dict[str, float]:
    return {} if at is None else {"time": at}


def _samples(promql: str, result: list[Any]) -> list[Sample]:
    if len(result) == 2 and not isinstance(result[0], dict):  # a scalar: [time, "value"]
        return [Sample({}, float(result[1]), float(result[0]))]
    if any("values" in each for each in result):
        raise QueryError(
            f"{promql} gives ranges, not an instant vector",
            remedy="ask range_samples, or wrap it in a function",
            retryable=False,
        )
    return [Sample(each["metric"], float(each["value"][1]), float(each["value"][0])) for each in result]


def _range(found: Mapping[str, Any]) -> RangeSamples:
    points = tuple((float(when), float(value)) for when, value in found.get("values", ()))
    return RangeSamples(found["metric"], points)


def _target(found: Mapping[str, Any]) -> Target:
    labels = found.get("labels") or {}
    discovered = found.get("discoveredLabels") or {}
    return Target(
        job=labels.get("job", ""),
        instance=labels.get("instance", ""),
        pod=labels.get("pod") or discovered.get("__meta_kubernetes_pod_name", ""),
        namespace=labels.get("namespace") or discovered.get("__meta_kubernetes_namespace", ""),
        health=found.get("health", "unknown"),
        last_error=found.get("lastError", ""),
        last_scrape=_seconds(found.get("lastScrape", "")),
        url=found.get("scrapeUrl", ""),
    )


def _seconds(text: str) -> float:
    """RFC 3339 with nanoseconds → seconds since the epoch; Go's zero time, year 1, means never."""
    if not text or text.startswith("0001-"):
        return 0.0
    return datetime.fromisoformat(text).timestamp()
