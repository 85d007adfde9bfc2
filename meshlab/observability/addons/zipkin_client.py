"""Asking Zipkin's API (version 2, as its OpenAPI document has it): the same answers as of Jaeger's.

A proxy's two ends of one call share a span id in Zipkin (`shared`); here the server's end is a child of the client's, as
Jaeger makes it of the same spans.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.observability.addons.jaeger_client import STATUS_TAGS, Dependency, JaegerClient
from meshlab.report.material import Span, Trace

API = "/api/v2"
SERVER_END = "s"  # behind the id of a shared span: its server's end


class ZipkinClient(JaegerClient):
    """Asks one Zipkin. Safe for several threads. Arguments and errors are those of `JaegerClient`."""

    NAME = "Zipkin"
    REMEDY = "check that Zipkin is Ready, and that this is where its API is"

    @property
    def page(self) -> str:
        """The address of Zipkin's page."""
        return f"{self.url}/zipkin/"

    def services(self) -> tuple[str, ...]:
        """Names of the services that sent spans, sorted."""
        found = self._http.json(f"{API}/services")
        with self._http.reading("services"):
            return tuple(sorted(str(each) for each in found))

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
            QueryError: Zipkin does not answer, or in another form.
        """
        end = time.time() if end is None else end
        back = end - start if start is not None else lookback
        found = self._http.json(
            f"{API}/traces",
            {
                "serviceName": service,
                "endTs": int(end * 1e3),
                "lookback": max(int(back * 1e3), 1),
                "limit": limit,
            },
        )
        with self._http.reading("traces"):
            traces = [_trace(spans) for spans in found if spans]
        return tuple(sorted(traces, key=lambda trace: trace.spans[0].start_us, reverse=True))

    def dependencies(self, *, end: float | None = None, lookback: float = 3600) -> tuple[Dependency, ...]:
        """Ask which service called which.

        Args:
            end: Seconds since the epoch; now where None.
            lookback: Seconds before `end`.

        Returns:
            The calls.

        Raises:
            QueryError: Zipkin does not answer, or in another form.
        """
        end = time.time() if end is None else end
        found = self._http.json(
            f"{API}/dependencies", {"endTs": int(end * 1e3), "lookback": max(int(lookback * 1e3), 1)}
        )
        with self._http.reading("dependencies"):
            links = [Dependency(each["parent"], each["child"], each["callCount"]) for each in found]
        return tuple(sorted(links, key=lambda link: (link.parent, link.child)))


def _trace(found: Sequence[Mapping[str, Any]]) -> Trace:
    servers = {(each["id"], _service(each)) for each in found if each.get("shared")}
    spans = [_span(each, servers) for each in found]
    return Trace(
        found[0]["traceId"], tuple(sorted(spans, key=lambda span: (span.start_us, -span.duration_ms)))
    )


def _span(found: Mapping[str, Any], servers: set[tuple[str, str]]) -> Span:
    """A span; below a shared one, what its service did is below the server's end."""
    service, parent, name = _service(found), found.get("parentId"), str(found["id"])
    if found.get("shared"):
        name, parent = f"{name}{SERVER_END}", name
    elif parent is not None and (parent, service) in servers:
        parent = f"{parent}{SERVER_END}"
    tags = {str(key): str(value) for key, value in (found.get("tags") or {}).items()}
    if found.get("kind"):
        tags.setdefault("span.kind", str(found["kind"]).lower())
    return Span(
        id=name,
        parent=parent,
        service=service,
        operation=found.get("name") or "",
        start_us=int(found.get("timestamp") or 0),
        duration_ms=int(found.get("duration") or 0) / 1e3,
        status=next((tags[each] for each in STATUS_TAGS if each in tags), ""),
        error="error" in tags and tags["error"] != "false",
        tags=tags,
    )


def _service(found: Mapping[str, Any]) -> str:
    return str((found.get("localEndpoint") or {}).get("serviceName") or "")
