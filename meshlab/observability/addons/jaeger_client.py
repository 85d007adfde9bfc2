"""Asking Jaeger's query API: answers as values, every failure as a QueryError.

The API is the one that Jaeger's own page uses (cmd/query/app/http_handler.go of the Jaeger repository): no
Python client of it is kept up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshlab.core.access import OPEN, Access
from meshlab.core.errors import QueryError
from meshlab.core.http import Getter
from meshlab.report.material import Span, Trace

TIMEOUT = 15.0  # seconds for each answer
BASES = ("/jaeger", "")  # where the query API is: as Istio's addon configures it, and Jaeger's own default
STATUS_TAGS = ("http.status_code", "http.response.status_code", "grpc.status_code", "rpc.grpc.status_code")


@dataclass(frozen=True)
class Dependency:
    """Calls between two services, as Jaeger counts them from its spans."""

    parent: str
    child: str
    calls: int


class JaegerClient:
    """Asks one Jaeger. Safe for several threads.

    url: without a path, for example of a port-forward. timeout: seconds for each answer. why: see Getter.
    Every method raises QueryError (retryable where trying again may help). NAME, REMEDY: for its messages.
    """

    NAME = "Jaeger"
    REMEDY = "check that Jaeger is Ready and that its port-forward is up"

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        why: Callable[[], str] | None = None,
        access: Access = OPEN,
    ) -> None:
        self.url = url.rstrip("/")
        self._http = Getter(url, timeout=timeout, name=self.NAME, remedy=self.REMEDY, why=why, access=access)
        self._base: str | None = None

    @property
    def page(self) -> str:
        """The address of Jaeger's page. Asks Jaeger where it is, the first time."""
        return f"{self.url}{self._find_base()}/search"

    def services(self) -> tuple[str, ...]:
        """Names of the services that sent spans, sorted."""
        return tuple(sorted(self._ask("services", {}) or ()))

    def traces(
        self,
        service: str,
        *,
        lookback: float = 3600,
        start: float | None = None,
        end: float | None = None,
        limit: int = 20,
    ) -> tuple[Trace, ...]:
        """Get the newest traces that a service took part in.

        Args:
            service: Its name.
            lookback: Seconds.
            start: Seconds since the epoch; `lookback` before `end` where None.
            end: Seconds since the epoch; now where None.
            limit: How many, at most.

        Returns:
            The traces, newest first.

        Raises:
            QueryError: Jaeger does not answer, or in another form.
        """
        end = time.time() if end is None else end
        start = end - lookback if start is None else start
        # Jaeger's own units: microseconds here, milliseconds for dependencies.
        window = {"start": int(start * 1e6), "end": int(end * 1e6)}
        found = self._ask("traces", {"service": service, "limit": limit, **window})
        with self._http.reading("traces"):
            traces = [_trace(each) for each in found or ()]
        return tuple(sorted(traces, key=_begin, reverse=True))

    def dependencies(self, *, end: float | None = None, lookback: float = 3600) -> tuple[Dependency, ...]:
        """Ask which service called which.

        Args:
            end: Seconds since the epoch; now where None.
            lookback: Seconds before `end`.

        Returns:
            The calls.

        Raises:
            QueryError: Jaeger does not answer, or in another form.
        """
        end = time.time() if end is None else end
        found = self._ask("dependencies", {"endTs": int(end * 1e3), "lookback": int(lookback * 1e3)})
        with self._http.reading("dependencies"):
            links = [Dependency(each["parent"], each["child"], each["callCount"]) for each in found or ()]
        return tuple(sorted(links, key=lambda link: (link.parent, link.child)))

    def _find_base(self) -> str:
        """The base path under which this Jaeger serves its API: the first that answers in JSON."""
        if self._base is not None:
            return self._base
        problems = []
        for base in BASES:
            try:
                # Jaeger answers a path that it does not know with its page, or with a 404.
                self._data(f"{base}/api/services", {})
            except QueryError as problem:
                problems.append(problem)
                continue
            self._base = base
            return base
        raise next((problem for problem in problems if problem.retryable), problems[0])

    def _ask(self, what: str, params: Mapping[str, str | int]) -> Any:
        return self._data(f"{self._find_base()}/api/{what}", params)

    def _data(self, path: str, params: Mapping[str, str | int]) -> Any:
        document = self._http.json(path, params)
        with self._http.reading(path):
            if document.get("errors"):
                said = "; ".join(str(each["msg"]) for each in document["errors"])
                raise QueryError(f"Jaeger answered {path} with errors: {said}", remedy=self.REMEDY)
            return document["data"]


def _trace(found: Mapping[str, Any]) -> Trace:
    services = {key: process["serviceName"] for key, process in found["processes"].items()}
    spans = [_span(each, services) for each in found["spans"]]
    return Trace(found["traceID"], tuple(sorted(spans, key=lambda span: (span.start_us, -span.duration_ms))))


def _span(found: Mapping[str, Any], services: Mapping[str, str]) -> Span:
    parents = [ref["spanID"] for ref in found.get("references") or () if ref["refType"] == "CHILD_OF"]
    tags = {tag["key"]: _text(tag["value"]) for tag in found.get("tags") or ()}
    status = next((tags[name] for name in STATUS_TAGS if name in tags), "")
    return Span(
        id=found["spanID"],
        parent=parents[0] if parents else None,
        service=services[found["processID"]],
        operation=found["operationName"],
        start_us=found["startTime"],
        duration_ms=found["duration"] / 1e3,
        status=status,
        error=tags.get("error") == "true",
        tags=tags,
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _begin(trace: Trace) -> int:
    return trace.spans[0].start_us if trace.spans else 0
