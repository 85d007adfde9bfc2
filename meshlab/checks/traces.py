"""Traces of the product page: whether one tree of spans reaches every service behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshlab.app.bookinfo import DETAILS, PRODUCTPAGE, RATINGS, REVIEWS_V1
from meshlab.checks.base import judged
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, wait_or_last
from meshlab.observability.addons.jaeger_client import JaegerClient
from meshlab.report.material import Span, Trace
from meshlab.run.results import CheckResult, Table

# Who must be found below whom, as chains of services from the product page on.
BRANCHES: tuple[tuple[str, ...], ...] = (
    (PRODUCTPAGE.app, DETAILS.app),
    (PRODUCTPAGE.app, REVIEWS_V1.app),
    (PRODUCTPAGE.app, REVIEWS_V1.app, RATINGS.app),
)
LIMIT = 50  # traces that are fetched at a time
SHOWN = 5  # traces kept for the report


@dataclass(frozen=True)
class TraceSearch:
    """What Jaeger had when the search ended.

    service: whose traces. traces: newest first. reached: how many traces hold each branch of BRANCHES.
    services: every service that Jaeger knows. best: the trace with the most branches, the newest of them that
    is whole.
    """

    service: str
    namespace: str
    traces: tuple[Trace, ...]
    reached: Mapping[tuple[str, ...], int]
    services: tuple[str, ...]
    best: Trace | None

    @property
    def missing(self) -> tuple[tuple[str, ...], ...]:
        """Branches that the best trace does not hold."""
        held = branches(self.best, self.namespace) if self.best else set()
        return tuple(branch for branch in BRANCHES if branch not in held)

    @property
    def shown(self) -> tuple[Trace, ...]:
        """The traces for the report's waterfall: the best one first, with a note of what it lacks."""
        if self.best is None:
            return ()
        lacks = ", ".join(_named(branch) for branch in self.missing)
        first = replace(self.best, note=f"missing: {lacks}" if lacks else "")
        return (first, *[each for each in self.traces if each.trace_id != first.trace_id][: SHOWN - 1])


def search_traces(
    client: JaegerClient,
    namespace: str,
    *,
    start: float | None = None,
    timeout: float = 60,
    clock: Clock | None = None,
) -> TraceSearch:
    """Get traces of productpage until one holds every branch, or the time is over.

    Proxies send their spans every few seconds, each proxy on its own, so a trace comes together bit by bit.

    Args:
        client: Asks Jaeger.
        namespace: Of the application.
        start: Only traces since then (seconds since the epoch); None: the last hour.
        timeout: Seconds, at most.
        clock: Of the wait; the real one where not given.

    Returns:
        What was there at the end, to be judged.

    Raises:
        WaitTimeout: Jaeger did not answer at the end.
    """
    service = f"{PRODUCTPAGE.app}.{namespace}"

    def look() -> TraceSearch:
        traces = client.traces(service, start=start, limit=LIMIT)
        # Newer traces are still coming together: `max` keeps the first, newest one of the fullest.
        best = max(traces, key=lambda trace: (len(branches(trace, namespace)), is_whole(trace)), default=None)
        held = [branches(trace, namespace) for trace in traces]
        reached = {branch: sum(branch in each for each in held) for branch in BRANCHES}
        return TraceSearch(service, namespace, traces, reached, client.services(), best)

    return wait_or_last(
        f"a trace of {service} that reaches every service behind it",
        look,
        ready=lambda found: found.best is not None and not found.missing and is_whole(found.best),
        describe=_told,
        timeout=timeout,
        delay=1.0,
        clock=clock,
        remedy="look at Jaeger's pod and its log",
    )


def productpage_traces(search: TraceSearch) -> CheckResult:
    """A trace of productpage reaches details, reviews and ratings; what is missing is named, with a reason.

    Evidence: `service`, `traces` (found), `reached` (branch → traces that hold it), `services`, `trace_id`,
    table `tree` (service, operation, kind, parent, duration_ms, status) of the fullest trace.
    """
    problems = []
    if not search.traces:
        known = ", ".join(search.services) or "none"
        problems.append(f"there is no trace of {search.service}; services that sent spans: {known}")
    else:
        problems += [_why_missing(search, branch) for branch in search.missing]
    best = search.best
    summary = f"no trace of {search.service}"
    if best is not None:
        length = max(span.start_us / 1e3 + span.duration_ms for span in best.spans)
        begin = min(span.start_us / 1e3 for span in best.spans)
        names = sorted({span.service for span in best.spans})
        summary = (
            f"{pluralize(len(search.traces), 'traces')}; one of {pluralize(len(best.spans), 'spans')} "
            f"and {length - begin:.1f} ms goes through {', '.join(names)}"
        )
    return judged(
        "jaeger.productpage-traces",
        problems,
        summary,
        {
            "service": search.service,
            "traces": len(search.traces),
            "reached": {_named(branch): count for branch, count in search.reached.items()},
            "services": list(search.services),
            "trace_id": best.trace_id if best else None,
            "tree": tree_rows(best) if best else [],
        },
        remedy="tracing must be on before the pods are created (Telemetry, and the collector's service), and "
        "each application must pass the trace's headers on",
    )


def branches(trace: Trace, namespace: str) -> set[tuple[str, ...]]:
    """The branches of BRANCHES that a trace holds."""
    chains = {tuple(chain) for chain in _chains(trace, namespace)}
    return {branch for branch in BRANCHES if branch in chains}


def is_whole(trace: Trace) -> bool:
    """Whether no span waits for its parent, which another proxy sends."""
    known = {span.id for span in trace.spans}
    return all(span.parent is None or span.parent in known for span in trace.spans)


def tree_rows(trace: Trace) -> Table:
    """The spans of a trace as rows, depth first; `depth` counts from 0 at the root."""
    below: dict[str | None, list[Span]] = {}
    known = {span.id: span for span in trace.spans}
    for span in trace.spans:
        below.setdefault(span.parent if span.parent in known else None, []).append(span)
    rows: Table = []
    waiting = [(span, 0) for span in reversed(below.get(None, []))]
    while waiting:
        span, depth = waiting.pop()
        parent = known.get(span.parent or "")
        rows.append(
            {
                "depth": depth,
                "service": span.service,
                "operation": span.operation,
                "kind": span.tags.get("span.kind", ""),
                "parent": f"{parent.service} {parent.tags.get('span.kind', '')}".strip() if parent else "",
                "duration_ms": round(span.duration_ms, 3),
                "status": span.status,
                "error": span.error,
            }
        )
        waiting += [(child, depth + 1) for child in reversed(below.get(span.id, []))]
    return rows


def _chains(trace: Trace, namespace: str) -> Iterator[list[str]]:
    """For each span the applications from the product page down to it, each named once in a row."""
    known = {span.id: span for span in trace.spans}
    suffix = f".{namespace}"
    for span in trace.spans:
        chain: list[str] = []
        seen: set[str] = set()  # a span that is its own ancestor must not hold us up
        at: Span | None = span
        while at is not None and at.id not in seen:
            seen.add(at.id)
            name = at.service.removesuffix(suffix)
            if not chain or chain[-1] != name:
                chain.append(name)
            at = known.get(at.parent or "")
        if PRODUCTPAGE.app in chain:
            yield list(reversed(chain[: chain.index(PRODUCTPAGE.app) + 1]))


def _why_missing(search: TraceSearch, branch: Sequence[str]) -> str:
    *_, above, name = branch
    count = len(search.traces)
    text = f"no span of {name} below {above} in the fullest of {count} traces"
    if search.reached[tuple(branch)]:
        return f"{text} (others hold it, none holds all branches)"
    if f"{name}.{search.namespace}" in search.services:
        return f"{text}: {name} sends spans, so {above} seems not to pass the trace's headers on"
    return f"{text}: {name} sent no span at all"


def _told(search: TraceSearch) -> str:
    lacks = ", ".join(_named(branch) for branch in search.missing)
    return f"{len(search.traces)} traces; missing: {lacks or 'nothing'}"


def _named(branch: Sequence[str]) -> str:
    return " → ".join(branch)
