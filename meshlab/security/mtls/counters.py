"""What the sidecars at both ends of an edge counted in a window, by reporter, code and security policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshlab.core.waiting import Clock, wait
from meshlab.envoy.stats import REQUESTS, Sample, SidecarReader
from meshlab.security.mtls.edges import Edge

MUTUAL = "mutual_tls"
Reading = Mapping[tuple[str, str, str], Sample]  # edge, reporter, series → counter


@dataclass(frozen=True)
class Counted:
    """One edge's window.

    sent: requests that the source's sidecar sent; received: those that the target's got, by
    connection_security_policy; identities: (source, target) principals in the target's series that moved;
    codes: response codes at the target. falls: counters that fell or vanished: the window is void.
    """

    edge: str
    sent: int
    received: Mapping[str, int]
    codes: Mapping[str, int]
    identities: tuple[tuple[str, str], ...]
    falls: tuple[str, ...] = ()

    @property
    def mutual(self) -> int:
        """Requests that came by mutual TLS."""
        return self.received.get(MUTUAL, 0)


def read_counters(
    reader: SidecarReader, edges: Sequence[Edge], *, timeout: float = 30, clock: Clock | None = None
) -> Reading:
    """The edges' request counters, once two reads in a row agree. Raises QueryError, KubeError, WaitTimeout."""
    reads: list[Reading] = []

    def read() -> bool:
        reads.append(_read_once(reader, edges))
        return len(reads) > 1 and _values(reads[-1]) == _values(reads[-2])

    wait(
        "the edges' counters to stand still",
        read,
        ready=bool,
        describe=lambda _: f"{sum(sample.value for sample in reads[-1].values()):.0f} requests counted",
        timeout=timeout,
        delay=0.3,
        remedy="nothing may send to the application while its counters are read",
        clock=clock,
    )
    return reads[-1]


def counted(edges: Sequence[Edge], before: Reading, after: Reading) -> tuple[Counted, ...]:
    """Count what moved between two readings.

    Args:
        edges: The edges that were read.
        before: The first reading.
        after: The second one.

    Returns:
        A count for each edge.
    """
    return tuple(_of_edge(edge, before, after) for edge in edges)


def _of_edge(edge: Edge, before: Reading, after: Reading) -> Counted:
    sent, falls = 0, []
    received: dict[str, int] = defaultdict(int)
    codes: dict[str, int] = defaultdict(int)
    identities: dict[tuple[str, str], None] = {}
    for key in sorted({key for key in (*before, *after) if key[0] == edge.name}):
        _, reporter, series = key
        new, old = after.get(key), before.get(key)
        delta = round((new.value if new else 0) - (old.value if old else 0))  # requests are whole
        if delta < 0:
            falls.append(f"{reporter}: {series} fell by {-delta}")
        if delta <= 0 or new is None:
            continue
        if reporter == "source":
            sent += delta
            continue
        received[new.get("connection_security_policy") or "unknown"] += delta
        codes[new.get("response_code")] += delta
        identities[new.get("source_principal"), new.get("destination_principal")] = None
    return Counted(edge.name, sent, dict(received), dict(codes), tuple(identities), tuple(falls))


def _read_once(reader: SidecarReader, edges: Sequence[Edge]) -> Reading:
    pods = {pod.name for edge in edges for pod in (edge.source_pod, edge.target_pod)}
    samples = {pod: reader.stats(pod, (REQUESTS,)) for pod in sorted(pods)}
    found = {}
    for edge in edges:
        for sample in samples[edge.source_pod.name]:
            if _is(sample, "source", edge) and sample.get("destination_workload") == edge.target.name:
                found[edge.name, "source", sample.series] = sample
        for sample in samples[edge.target_pod.name]:
            if _is(sample, "destination", edge):
                found[edge.name, "destination", sample.series] = sample
    return found


def _is(sample: Sample, reporter: str, edge: Edge) -> bool:
    caller = (sample.get("source_workload"), sample.get("source_workload_namespace"))
    return sample.get("reporter") == reporter and caller == (edge.source.name, edge.source_pod.namespace)


def _values(reading: Reading) -> dict[tuple[str, str, str], float]:
    return {key: sample.value for key, sample in reading.items()}
