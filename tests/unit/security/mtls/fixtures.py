"""Edges, windows and rounds as the stage would hand them to the checks."""

from __future__ import annotations

from dataclasses import replace

from meshlab.app import bookinfo
from meshlab.app.once import RoundResult
from meshlab.kube.pods import PodSummary, summarise
from meshlab.security.mtls.capture import Captured, Seen
from meshlab.security.mtls.counters import Counted
from meshlab.security.mtls.edges import Edge
from meshlab.security.mtls.outside import Round, paths
from meshlab.security.mtls.stage import Window
from tests.fakes.kube import make_pod

SPIFFE = "spiffe://cluster.local/ns/default/sa/"
IPS = {
    bookinfo.SLEEPER.name: "10.0.0.1",
    bookinfo.PRODUCTPAGE.name: "10.0.0.2",
    bookinfo.DETAILS.name: "10.0.0.3",
}
TLS = Seen(packets=20, bytes=9000, payload=8000, tls_records=12)
CLEAR = Seen(packets=20, bytes=9000, payload=8000, http=6, marker=3)


def pod(workload: bookinfo.Workload) -> PodSummary:
    found = summarise(make_pod(f"{workload.name}-0", podIP=IPS[workload.name]))
    return replace(found, service_account=workload.service_account)


def edges() -> tuple[Edge, ...]:
    sleep, page, details = (pod(each) for each in (bookinfo.SLEEPER, bookinfo.PRODUCTPAGE, bookinfo.DETAILS))
    return (
        Edge(bookinfo.SLEEPER, bookinfo.PRODUCTPAGE, sleep, page),
        Edge(bookinfo.PRODUCTPAGE, bookinfo.DETAILS, page, details),
    )


def asked(status: str, exit_code: int, number: int = 1, url: str = "http://details") -> RoundResult:
    exits = {exit_code: number} if exit_code else {}
    return RoundResult(number, {status: number}, number, 0, exits, None, "", url=url)


def plain(status: str, exit_code: int, *, heard: int, handed: int, sent: int = 3) -> Round:
    found = paths(edges(), "default")
    return Round(
        paths=tuple((path, asked(status, exit_code, sent)) for path in found),
        heard={path.name: heard for path in found},
        handed={name: handed for path in found for name in path.pods},
    )


def sent(number: int, *, status: str = "200") -> RoundResult:
    return RoundResult(number, {status: number}, number, number, {}, None, "")


def counted(edge: Edge, number: float, *, policy: str = "mutual_tls") -> Counted:
    pair = (f"{SPIFFE}{edge.source.service_account}", f"{SPIFFE}{edge.target.service_account}")
    return Counted(edge.name, number, {policy: number}, {"200": number}, (pair,))


def captured(
    edge: Edge, *, wire: Seen = TLS, app_side: Seen = CLEAR, drops: int = 0, to_the_end: bool = True
) -> Captured:
    peers = {edge.source_pod.ip: wire}
    return Captured(edge.target_pod.name, ("eth0", "lo"), peers, app_side, drops, to_the_end)


def window(number: int = 3) -> Window:
    all_edges = edges()
    return Window(
        marker="m",
        sent=sent(number),
        counted=tuple(counted(edge, number) for edge in all_edges),
        captured={edge.target_pod.name: captured(edge) for edge in all_edges},
        probe_sent=sent(3),
        probe=Captured("probe", ("eth0", "lo"), {"10.0.0.9": CLEAR}, CLEAR, 0),
        probe_nodes="node-1 → node-2",
    )
