"""When no connection is left that still follows an earlier configuration.

A proxy that has acknowledged a listener applies it to new connections. Those that are there, such as the ones
that a caller's sidecar keeps for later, stay with the filters (so with the policies) that they began with until
they have drained: at their next answer, at the latest after the mesh's drainDuration. Seen here: the first
request on a kept connection was still allowed after the proxies had acknowledged the policy that denies it.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.core.errors import QueryError
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.envoy.admin import Pages, read_stats, stats_query
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.control_plane import with_sidecar
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.proxies import ask_proxies, opened
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

GAUGES = "total_(filter_chains|listeners)_draining"  # of Envoy's listener_manager
MARGIN = 2.0  # seconds
TIMEOUT = 120.0  # seconds: Istio's own drainDuration is 45 s


def wait_drained(
    kube: Kube,
    pods: Sequence[PodSummary],
    *,
    timeout: float = TIMEOUT,
    clock: Clock | None = None,
    pages: Pages | None = None,
) -> None:
    """Wait until no proxy of some pods drains a listener or a part of one that it drained at the call.

    To be called after `wait_acknowledged`. Pods without a proxy are passed over. Where others change the mesh all the
    time, something always drains: what still does after the proxies' own drain time began after the call.

    Args:
        kube: Client of the cluster.
        pods: The pods whose proxies are awaited.
        timeout: Seconds, at most.
        clock: Of the wait; the machine's where not given.
        pages: Where the proxies' pages come from; port-forwards where not given.

    Raises:
        WaitTimeout: A proxy still drains; its text names it.
        QueryError: A page does not answer.
    """
    proxied, clock = with_sidecar(pods), clock or SystemClock()
    begin = clock.now()
    with opened(kube, pages) as source:
        longest: list[float] = []

        def over(left: list[str]) -> bool:
            if left and not longest:
                longest.append(_drain_time(source, proxied))
            return not left or clock.now() - begin > longest[0]

        def draining() -> list[str]:
            answers = ask_proxies(source, proxied, "/stats", stats_query(GAUGES))
            counts = [(pod.name, sum(read_stats(answer).values())) for pod, answer in answers]
            return [f"{name}: {count}" for name, count in counts if count]

        wait(
            f"{len(proxied)} proxies to have drained their earlier listeners",
            draining,
            ready=over,
            describe=lambda left: f"draining: {', '.join(left)}" if left else "none drains",
            timeout=timeout,
            delay=0.2,
            remedy="drainDuration in the mesh's defaultConfig says how long a proxy drains",
            clock=clock,
        )


def wait_in_force(
    kube: Kube,
    istioctl: Istioctl,
    namespace: str,
    *,
    clock: Clock | None = None,
    pages: Pages | None = None,
) -> None:
    """Wait until the Ready pods of a namespace run with what was just changed, and no connection follows what was before.

    Args:
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        namespace: The namespace.
        clock: Of the waits; the machine's where not given.
        pages: Where the pages of istiod and the proxies come from; port-forwards where not given.

    Raises:
        WaitTimeout: A proxy does not acknowledge, or still drains; its text names it.
        IstioError: There is no istiod, or no pod has a proxy.
        QueryError: A page does not answer.
    """
    pods = [pod for pod in kube.pods(namespace) if pod.is_ready]
    wait_acknowledged(kube, istioctl, pods, clock=clock, pages=pages)
    wait_drained(kube, pods, clock=clock, pages=pages)


def _drain_time(pages: Pages, pods: Sequence[PodSummary]) -> float:
    """Seconds after which the slowest of some proxies has closed what it drains, and some for its clock."""
    found = []
    for pod, info in ask_proxies(pages, pods, "/server_info", {}):
        told = (info.get("command_line_options") or {}).get("drain_time", "")
        try:
            found.append(float(told.removesuffix("s")))
        except ValueError:
            raise QueryError(
                f"the proxy of {pod.namespace}/{pod.name} does not tell how long it drains: {told!r}",
                remedy="look at its page /server_info: command_line_options.drain_time",
            ) from None
    return max(found) + MARGIN
