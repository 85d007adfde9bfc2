"""Asking Grafana by its HTTP API: https://grafana.com/docs/grafana/latest/developers/http_api/data_source/

By `requests` itself: docs/decisions tells why not by grafana-client. Every failure is a QueryError.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from meshlab.errors import QueryError

TIMEOUT = 20  # seconds for each request: Grafana waits for Prometheus before it answers
REMEDY = "check that Grafana is Ready, that its port-forward is up, and that Prometheus answers"
REF = "A"
ODD = (("NaN", math.nan), ("Inf", math.inf), ("NegInf", -math.inf))  # what JSON has no numbers for


@dataclass(frozen=True)
class Frame:
    """One series. points: (seconds since the epoch, value), oldest first; a null becomes NaN."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class GrafanaClient:
    """Asks one Grafana and through it one of its Prometheus datasources. Safe for several threads.

    url: without a path, for example of a port-forward. datasource: its name. timeout: seconds for each request.
    Anonymous access must be allowed to read, as Istio's addon does it. Every method raises QueryError (retryable
    where trying again may help).
    """

    def __init__(self, url: str, *, datasource: str = "Prometheus", timeout: float = TIMEOUT) -> None:
        self.url = url.rstrip("/")
        self.datasource = datasource
        self._timeout = timeout
        self._local = threading.local()
        self._uid = ""

    def version(self) -> str:
        """Grafana's version; also tells that it and its database answer."""
        health = self._get("/api/health")
        if health.get("database") != "ok":
            raise QueryError(f"{self.url} is not healthy: {health}", remedy=REMEDY)
        return str(health["version"])

    def now(self) -> float:
        """Seconds since the epoch. Grafana has no clock to ask: its pages use the reader's."""
        return time.time()

    def uid(self) -> str:
        """The datasource's uid. Not retryable when there is no such datasource."""
        if not self._uid:
            self._uid = str(self._get(f"/api/datasources/name/{self.datasource}")["uid"])
        return self._uid

    def query(
        self,
        promql: str,
        *,
        start: float,
        end: float,
        instant: bool,
        interval_ms: int = 15_000,
        points: int = 1000,
        interval: str = "",
        factor: int = 1,
    ) -> list[Frame]:
        """Execute a query as a panel does (POST /api/ds/query). start, end: seconds since the epoch.

        interval_ms: `$__interval` as the page computes it. points: the panel's width. interval: the query's own
        least step. Grafana computes step and rate interval of them.
        """
        asked = {
            "refId": REF,
            "datasource": {"type": "prometheus", "uid": self.uid()},
            "expr": promql,
            "instant": instant,
            "range": not instant,
            "format": "time_series",
            "intervalMs": interval_ms,
            "maxDataPoints": points,
            "interval": interval,
            "intervalFactor": factor,
        }
        body = {"queries": [asked], "from": str(round(start * 1000)), "to": str(round(end * 1000))}
        with self._errors(promql):
            answer = self._session().post(f"{self.url}/api/ds/query", json=body, timeout=self._timeout)
            result = (self._document(answer, promql, may_fail=True).get("results") or {})[REF]
            if result.get("error"):
                status = int(result.get("status") or answer.status_code)
                raise _refused(promql, status, result["error"])
            return [frame for each in result.get("frames") or [] for frame in frames(each)]

    def label_values(self, label: str, selector: str | None = None) -> list[str]:
        """A label's values in the series that match, through the datasource's resources."""
        path = f"/api/datasources/uid/{self.uid()}/resources/api/v1/label/{label}/values"
        with self._errors(label):
            return sorted(self._get(path, {"match[]": selector} if selector else None)["data"])

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        with self._errors(path):
            answer = self._session().get(f"{self.url}{path}", params=params, timeout=self._timeout)
            return self._document(answer, path)

    def _document(self, answer: requests.Response, what: str, *, may_fail: bool = False) -> dict[str, Any]:
        """The JSON object of an answer. may_fail: an error status with results in it passes."""
        try:
            document = answer.json()
        except ValueError:
            document = None
        known = isinstance(document, dict)
        if answer.status_code >= 400 and not (may_fail and known and document.get("results")):
            told = document.get("message") or document.get("error") if known else answer.text[:200]
            raise _refused(what, answer.status_code, str(told))
        if not known:
            raise QueryError(
                f"{self.url} answered {what} with no JSON object (a login page?): {answer.text[:80]!r}",
                remedy="check what listens there, and that anonymous access is allowed",
            )
        return dict(document)

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False  # a proxy of the environment can't reach a port-forward
        return self._local.session

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except requests.RequestException as problem:
            raise QueryError(f"{self.url} can't be asked for {what}: {problem}", remedy=REMEDY) from problem
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as problem:
            message = f"{self.url} answered {what} in a form that is none of Grafana's: {problem!r}"
            raise QueryError(message, remedy=REMEDY) from problem


def frames(document: Mapping[str, Any]) -> Iterator[Frame]:
    """The series of one data frame: each of its number fields against its time field.

    Source: https://grafana.com/developers/dataplane (time series wide and multi). Raises KeyError, TypeError,
    IndexError or ValueError for what is no such frame.
    """
    fields, columns = document["schema"]["fields"], document["data"]["values"]
    if not fields:
        return  # a query that found nothing
    if len(fields) != len(columns):
        raise ValueError(f"{len(fields)} fields, {len(columns)} columns")
    odd = document["data"].get("entities") or [None] * len(fields)
    at = next(index for index, field in enumerate(fields) if field["type"] == "time")
    times = [moment / 1000 for moment in columns[at]]
    for index, field in enumerate(fields):
        if field["type"] == "number":
            values = [math.nan if value is None else float(value) for value in columns[index]]
            for name, value in ODD:
                for position in (odd[index] or {}).get(name) or []:
                    values[position] = value
            yield Frame(field.get("labels") or {}, tuple(zip(times, values, strict=True)))


def _refused(what: str, status: int, told: str) -> QueryError:
    """What an error status means: the question is wrong (4xx), or somebody behind it does not answer."""
    if status in (401, 403):
        return QueryError(
            f"Grafana refused {what}: {status} {told}", remedy="allow anonymous access", retryable=False
        )
    wrong = 400 <= status < 500 and status not in (408, 429)
    remedy = "correct the query or the datasource's name" if wrong else REMEDY
    return QueryError(f"Grafana refused {what}: {status} {told}", remedy=remedy, retryable=not wrong)
