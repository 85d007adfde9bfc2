"""Asking Kiali's graph API: version-pinned, because its answers change with its versions.

Read from Kiali's own source: handlers/graph.go and graph/config/common (the answer), graph/options.go (the
question), graph/telemetry/istio/appender (response times, mutual TLS).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from meshlab.core.access import OPEN, Access
from meshlab.core.errors import QueryError
from meshlab.core.http import Getter
from meshlab.observability.graph.edges import NO_VERSION, UNKNOWN, drawn
from meshlab.report.material import GraphEdge, GraphNode, ServiceGraph

TIMEOUT = 20.0  # seconds for each answer: Kiali asks Prometheus many times for one graph
BASES = (
    "/kiali",
    "",
)  # web_root: as Istio's addon and Kiali's own chart have it, and where it has a host of its own
MAJOR, SEEN = 2, "v2.27"  # the major version that this adapter reads, and the one that it was written against
VERSION_KEYS = ("Kiali version", "Kiali core version")  # the newer name first
REMEDY = "check that Kiali is Ready and that its port-forward is up"
OTHER_VERSION = (
    f"compare Kiali's version with {SEEN}, which meshlab/observability/addons/kiali_client.py reads"
)
# Appenders that add what we read; the others ask the cluster for much that is not used.
APPENDERS = "deadNode,responseTime,securityPolicy"


class KialiClient:
    """Asks one Kiali whose authentication is anonymous, as in Istio's addon.

    url: without a path, for example of a port-forward. timeout: seconds for each answer. why: see Getter.
    Every method raises QueryError (retryable where trying again may help).
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        why: Callable[[], str] | None = None,
        access: Access = OPEN,
    ) -> None:
        self.url = url.rstrip("/")
        self._http = Getter(url, timeout=timeout, name="Kiali", remedy=REMEDY, why=why, access=access)
        self._version = ""
        self._base = BASES[0]

    @property
    def page(self) -> str:
        """The address of Kiali's page."""
        return f"{self.url}{self._base}/"

    def version(self) -> str:
        """Kiali's version. Raises QueryError, not retryable, for one that this adapter does not read."""
        if not self._version:
            answer = self._status()
            with self._http.reading("status", remedy=OTHER_VERSION, retryable=False):
                status = answer["status"]
                found = next((str(status[key]) for key in VERSION_KEYS if key in status), "")
            if not found.startswith(f"v{MAJOR}."):
                raise QueryError(
                    f"Kiali is {found or 'of no version that it tells'}; "
                    f"this adapter reads v{MAJOR} (written against {SEEN})",
                    remedy="use the Kiali of the Istio release, or extend meshlab/observability/addons/kiali_client.py",
                    retryable=False,
                )
            self._version = found
        return self._version

    def _status(self) -> Any:
        """Kiali's status, from the first base that has one."""
        problems = []
        for base in BASES:
            try:
                answer = self._http.json(f"{base}/api/status")
            except QueryError as problem:
                problems.append(problem)
                continue
            self._base = base
            return answer
        raise next((problem for problem in problems if problem.retryable), problems[0])

    def graph(self, namespace: str, *, seconds: float, at: float | None = None) -> ServiceGraph:
        """Get the workload graph of a namespace.

        Args:
            namespace: Of the application.
            seconds: How far back it reaches.
            at: Its end, in seconds since the epoch; now where None.

        Returns:
            The graph.

        Raises:
            QueryError: Kiali does not answer, or in another form.
        """
        self.version()
        answer = self._http.json(
            f"{self._base}/api/namespaces/graph",
            {
                "namespaces": namespace,
                "graphType": "workload",
                "duration": f"{max(math.ceil(seconds), 1)}s",
                "queryTime": int(time.time() if at is None else at),
                "appenders": APPENDERS,
                "responseTime": "95",
                "includeIdleEdges": "false",
                "injectServiceNodes": "false",
            },
        )
        with self._http.reading("the graph", remedy=OTHER_VERSION, retryable=False):
            if answer["graphType"] != "workload":
                raise QueryError(
                    f"Kiali answered with a graph of type {answer['graphType']}",
                    remedy=REMEDY,
                    retryable=False,
                )
            return _graph(answer["elements"], namespace)


def _graph(elements: Mapping[str, Any], namespace: str) -> ServiceGraph:
    by_id: dict[str, GraphNode] = {}
    for wrapped in elements["nodes"] or ():
        data = wrapped["data"]
        if not data.get("isBox"):  # a frame around others
            by_id[data["id"]] = _node(data)
    found = [wrapped["data"] for wrapped in elements["edges"] or ()]
    edges = [_edge(data, by_id[data["source"]], by_id[data["target"]]) for data in found]
    return drawn(f"Kiali's graph of {namespace}", by_id.values(), edges, source="Kiali")


def _node(data: Mapping[str, Any]) -> GraphNode:
    """A service without a workload behind it (nothing answered) is named by its service."""
    version = data.get("version", "")
    return GraphNode(
        workload=data.get("workload") or data.get("service") or data.get("app") or UNKNOWN,
        app="" if data.get("app") == UNKNOWN else data.get("app", ""),
        version="" if version in (UNKNOWN, NO_VERSION) else version,
        namespace=data["namespace"],
    )


def _edge(data: Mapping[str, Any], source: GraphNode, target: GraphNode) -> GraphEdge:
    """Numbers are text in Kiali's answer, and left out where they are 0."""
    traffic = data["traffic"]
    protocol = traffic["protocol"]
    rates = traffic.get("rates") or {}
    response_time = float(data.get("responseTime") or 0)  # ms; 0: not measured
    return GraphEdge(
        source.key,
        target.key,
        protocol,
        # Kiali's TCP rate is in bytes, ours in connections: not comparable.
        rate_rps=None if protocol == "tcp" else float(rates.get(protocol, 0)),
        error_percent=None if protocol == "tcp" else float(rates.get(f"{protocol}PercentErr", 0)),
        p95_ms=response_time or None,
        mtls=_mtls(float(data.get("isMTLS") or 0)),
    )


def _mtls(percent: float) -> bool | None:
    """From the share of mutual TLS: all, none, or mixed."""
    return True if percent >= 100 else False if percent <= 0 else None
