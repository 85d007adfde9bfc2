"""Ask Grafana by its HTTP API.

Source: https://grafana.com/docs/grafana/latest/developers/http_api/data_source/

Not by grafana-client: docs/decisions tells why. Every failure is a QueryError.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshlab.core.access import OPEN, Access
from meshlab.core.errors import QueryError
from meshlab.core.http import Answer, Getter
from meshlab.observability.addons.query import RangeSamples

TIMEOUT = 20.0  # seconds for each request: Grafana waits for Prometheus before it answers
REMEDY = "check that Grafana is Ready, that its port-forward is up, and that Prometheus answers"
DATASOURCES = "/api/datasources"
PROMETHEUS = "prometheus"  # the type of the datasources that are asked
NO_DATASOURCE = "add a datasource of type prometheus to Grafana, or name another Grafana: grafana.url"
REF = "A"
ODD = (("NaN", math.nan), ("Inf", math.inf), ("NegInf", -math.inf))  # what JSON has no numbers for


class GrafanaClient:
    """Asks one Grafana and through it one of its Prometheus datasources. Safe for several threads.

    url: without a path, for example of a port-forward. timeout: seconds for each
    request. why: as for `Getter`. Anonymous access must be allowed to read, as Istio's addon does it. Every
    method raises QueryError (retryable where trying again may help).
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        why: Callable[[], str] | None = None,
        access: Access = OPEN,
    ) -> None:
        self._http = Getter(url, timeout=timeout, name="Grafana", remedy=REMEDY, why=why, access=access)
        self.url = self._http.url
        self._uid = ""

    def version(self) -> str:
        """Grafana's version; also tells that it and its database answer."""
        with self._http.reading("/api/health"):
            health = self._http.json("/api/health")
            if health.get("database") != "ok":
                raise QueryError(f"{self.url} is not healthy: {health}", remedy=REMEDY)
            return str(health["version"])

    def now(self) -> float:
        """Seconds since the epoch. Grafana has no clock to ask: its pages use the reader's."""
        return time.time()

    def uid(self) -> str:
        """The uid of the datasource of type prometheus, of several the default one. Not retryable without one."""
        if not self._uid:
            with self._http.reading(DATASOURCES):
                listed = self._http.json(DATASOURCES)
                found = [each for each in listed if each["type"] == PROMETHEUS]
                chosen = next((each for each in found if each.get("isDefault")), found[0] if found else None)
                if chosen is None:
                    has = ", ".join(f"{each['name']} ({each['type']})" for each in listed) or "none"
                    raise QueryError(
                        f"Grafana at {self.url} has no datasource of type {PROMETHEUS} (it has: {has})",
                        remedy=NO_DATASOURCE,
                        retryable=False,
                    )
                self._uid = str(chosen["uid"])
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
    ) -> list[RangeSamples]:
        """Execute a query as a panel does (POST /api/ds/query).

        Grafana computes step and rate interval of them.

        Args:
            promql: The query.
            start: Seconds since the epoch.
            end: Seconds since the epoch.
            instant: Ask for one moment, not for a range.
            interval_ms: `$__interval` as the page computes it.
            points: The panel's width.
            interval: The query's own least step.
            factor: The query's resolution: 2 doubles the step.

        Returns:
            The series.

        Raises:
            QueryError: Grafana, or Prometheus behind it, refuses the query or does not answer.
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
        answer = self._http.post("/api/ds/query", body)
        with self._http.reading(promql):
            result = (_results(answer) or self._http.document(answer, promql)["results"])[REF]
            if result.get("error"):
                told = str(result["error"])
                # Before version 10 every failed query was a 400, and only Prometheus's own word tells whose
                # fault it was.
                blame = 400 if "bad_data" in told else 502
                raise self._http.refusal(promql, int(result.get("status") or blame), told)
            return [frame for each in result.get("frames") or [] for frame in frames(each)]

    def label_values(self, label: str, selector: str | None = None) -> list[str]:
        """List a label's values, through the datasource's resources.

        Args:
            label: The label.
            selector: Only in the series that match it.

        Returns:
            The values, sorted.
        """
        path = f"/api/datasources/uid/{self.uid()}/resources/api/v1/label/{label}/values"
        with self._http.reading(label):
            return sorted(self._http.json(path, {"match[]": selector} if selector else None)["data"])


def frames(document: Mapping[str, Any]) -> Iterator[RangeSamples]:
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
    at = [field["type"] for field in fields].index("time")
    times = [moment / 1000 for moment in columns[at]]
    for index, field in enumerate(fields):
        if field["type"] == "number":
            values = [math.nan if value is None else float(value) for value in columns[index]]
            for name, value in ODD:
                for position in (odd[index] or {}).get(name) or []:
                    values[position] = value
            yield RangeSamples(field.get("labels") or {}, tuple(zip(times, values, strict=True)))


def _results(answer: Answer) -> dict[str, Any]:
    """What became of each query: told beside an error status, too."""
    try:
        return dict(json.loads(answer.text)["results"] or {})
    except (ValueError, KeyError, TypeError):
        return {}
