"""Who executes a dashboard's queries: Prometheus itself, or a Grafana in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from meshlab.config.settings import LabConfig
from meshlab.core.access import access_of
from meshlab.core.errors import ShutOutError
from meshlab.core.patience import Patience
from meshlab.kube.client import Kube
from meshlab.observability.addons.explain import explain_miss
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.grafana_client import GrafanaClient
from meshlab.observability.addons.query import PrometheusClient, RangeSamples
from meshlab.observability.dashboards.intervals import Intervals
from meshlab.observability.dashboards.model import Target
from meshlab.observability.dashboards.templating import interpolate


@dataclass(frozen=True)
class Query:
    """One query to execute.

    expr: template variables resolved, interval variables left. end: seconds since the epoch.
    """

    target: Target
    expr: str
    intervals: Intervals
    end: float

    @property
    def promql(self) -> str:
        """The query with its interval variables resolved, too: what Prometheus is asked in the end."""
        return interpolate(self.expr, {}, self.intervals.values())


class Source(Protocol):
    """Executes queries. Every method may be called by several threads and raises QueryError."""

    @property
    def name(self) -> str:
        """For the evidence."""

    def now(self) -> float:
        """Seconds since the epoch, by the source's clock; also tells that it answers."""

    def ask(self, query: Query) -> tuple[RangeSamples, ...]:
        """The series that a query finds; none is an answer, too."""

    def vector(self, promql: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """An instant query's series with their values."""

    def label_values(self, label: str, selector: str | None) -> list[str]:
        """List a label's values.

        Args:
            label: The label.
            selector: Only in the series that match it.

        Returns:
            The values.
        """

    def explain(self, promql: str) -> str:
        """Why a query finds nothing, as far as can be told."""


@contextmanager
def source_of(
    kube: Kube,
    config: LabConfig,
    patience: Patience,
    metrics: Callable[[], AbstractContextManager[PrometheusClient]],
) -> Iterator[Source]:
    """Choose whom to ask: Grafana where it runs (awaited until it answers), else Prometheus itself.

    A Grafana of somebody else that wants credentials, and was given none, is passed over.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        patience: Gives the wait for Grafana its time.
        metrics: Opens the way to Prometheus.

    Yields:
        The source.

    Raises:
        WaitTimeout: Grafana runs and does not answer.
        KubeError: Neither can be reached.
        NotHereError: The mesh has no metrics.
    """
    with ExitStack() as stack:
        if GRAFANA.runs(kube, config):
            grafana = stack.enter_context(GRAFANA.open(kube, config))
            try:
                with patience.awaiting(config.prometheus.answer_timeout) as timeout:
                    GRAFANA.wait_answering(grafana, timeout=timeout, clock=patience.clock)
            except ShutOutError:
                if config.ours or access_of(GRAFANA.name).kind != "none":
                    raise
            else:
                if not config.ours:
                    stack.enter_context(metrics())  # without any, no query could find something
                yield GrafanaSource(grafana)
                return
        yield PrometheusSource(stack.enter_context(metrics()))


class PrometheusSource:
    """Asks Prometheus what Grafana would ask it."""

    name = "Prometheus"

    def __init__(self, client: PrometheusClient) -> None:
        self._client, self.label_values = client, client.label_values

    def now(self) -> float:
        """Return seconds since the epoch, by the source's clock."""
        return self._client.query("time()")[0].value

    def ask(self, query: Query) -> tuple[RangeSamples, ...]:
        """Return the series that a query finds."""
        if query.target.instant:
            return tuple(
                RangeSamples(sample.labels, ((sample.time, sample.value),))
                for sample in self._client.query(query.promql, at=query.end)
            )
        # Grafana puts the points on multiples of the step. Here the last one is now: on a mesh that is a
        # minute old, what was just counted would be left out for up to a step (a minute, in the heatmaps).
        step, end = query.intervals.step, int(query.end)
        start = end - query.intervals.range_seconds // step * step
        return tuple(self._client.query_range(query.promql, start, end, step))

    def vector(self, promql: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """Return an instant query's series with their values."""
        return [(sample.labels, sample.value) for sample in self._client.query(promql)]

    def explain(self, promql: str) -> str:
        """Say why a query finds nothing; "" where that is not known."""
        return str(explain_miss(self._client, promql))


class GrafanaSource:
    """Asks through Grafana's API, which computes intervals itself and reaches Prometheus as its panels do."""

    def __init__(self, client: GrafanaClient) -> None:
        self._client, self.label_values = client, client.label_values
        self.name = f"Grafana {client.version()}"

    def now(self) -> float:
        """Return seconds since the epoch, by the source's clock."""
        return self.vector("time()")[0][1]

    def ask(self, query: Query) -> tuple[RangeSamples, ...]:
        """Return the series that a query finds."""
        target, intervals = query.target, query.intervals
        found = self._client.query(
            query.expr,
            start=query.end - intervals.range_seconds,
            end=query.end,
            instant=target.instant,
            interval_ms=round(intervals.interval * 1000),
            points=intervals.points,
            interval=target.interval,
            factor=target.factor,
        )
        return tuple(found)

    def vector(self, promql: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """Return an instant query's series with their values."""
        end = self._client.now()
        found = self._client.query(promql, start=end - 60, end=end, instant=True)
        return [(series.labels, series.points[-1][1]) for series in found if series.points]

    def explain(self, promql: str) -> str:
        """Say why a query finds nothing; "" where that is not known."""
        return ""
