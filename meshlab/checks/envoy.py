"""The sidecar's own metrics, read where Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshlab.checks.base import failed, judged
from meshlab.checks.istio import has_sidecar
from meshlab.core.text import pluralize
from meshlab.envoy.admin import STATS_PATH, STATS_PORT
from meshlab.envoy.stats import (
    EMBEDDED_PREFIX,
    REQUESTS,
    Sample,
    SidecarReader,
    families,
    parse_stats,
)
from meshlab.kube.pods import PodSummary
from meshlab.run.results import CheckResult, Table


def scrape_pod(reader: SidecarReader, pod: PodSummary) -> CheckResult:
    """Read a pod's sidecar and judge what it exports (`scrape`).

    Args:
        reader: Reads sidecars.
        pod: The pod.

    Returns:
        The check; a failure where there is no sidecar to read.

    Raises:
        QueryError: The sidecar does not answer.
    """
    if not has_sidecar(pod):
        return failed(
            "envoy.scrape",
            [f"{pod.name} has no sidecar, only {', '.join(pod.containers)}"],
            remedy="label the namespace for injection and restart the workload",
        )
    text = reader.stats_text(pod.name)
    return scrape(pod.name, parse_stats(text), lines=len(text.splitlines()))


def scrape(pod: str, samples: Sequence[Sample], *, lines: int) -> CheckResult:
    """Productpage's sidecar exports the request metrics, and they counted requests that reached it.

    pod: the pod that was read. samples: its `istio_requests_total` in standard form. lines: of the whole
    answer, to tell an empty page from one without these metrics. The evidence says under which name they
    are exported: `istio_*` by Istio's own proxy, `envoy_istio_*` by the embedded distribution (`istio_*`
    once in Prometheus). Evidence: `family`, `lines`, table `series`.
    """
    names = families(samples)
    received = [s for s in samples if s.get("reporter") == "destination" and s.value > 0]
    problems = []
    if not samples:
        problems.append(
            f"{pod} exports no {REQUESTS} and no {EMBEDDED_PREFIX}{REQUESTS} on port {STATS_PORT} "
            f"({lines} lines in all)"
        )
    elif not received:
        problems.append(
            f"{pod} exports {len(samples)} series of {names[0]}, none of a request that reached it"
        )
    total = sum(s.value for s in received)
    return judged(
        "envoy.scrape",
        problems,
        f"{pod}: {len(samples)} series of {', '.join(names)}, {pluralize(total, 'requests')} received, "
        f"{pluralize(lines, 'lines')}",
        {"pod": pod, "url": f":{STATS_PORT}{STATS_PATH}", "family": list(names), "lines": lines}
        | {"series": series_rows(samples)},
        remedy="send a request first; if none comes up, look at the mesh's telemetry configuration",
    )


def series_rows(samples: Iterable[Sample]) -> Table:
    """Counters as rows of a table, the labels first that tell them apart."""
    return [
        {
            "reporter": s.get("reporter"),
            "source": s.get("source_workload"),
            "destination": s.get("destination_workload"),
            "response_code": s.get("response_code"),
            "connection_security_policy": s.get("connection_security_policy"),
            "response_flags": s.get("response_flags"),
            "value": s.value,
        }
        for s in samples
    ]
