"""What the proxies have acknowledged, as istiod sees it and as each proxy tells itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from meshlab.core.errors import ExecError
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.waiting import Clock, wait, wait_or_last
from meshlab.envoy.admin import PROXY_PORT, Pages, PodPages
from meshlab.istio.control_plane import SIDECAR, with_sidecar
from meshlab.istio.istioctl import ProxyStatus
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod
from meshlab.kube.pods import PodSummary

# Envoy's own counters: updates of clusters, listeners, routes and endpoints that it took or rejected.
COUNTER = re.compile(
    r"^(?:(?P<manager>cluster_manager\.cds|listener_manager\.lds)|\S*?(?P<part>\brds\b)\S*)"
    r"\.update_(?P<what>success|rejected): (?P<value>\d+)$",
    re.MULTILINE,
)
NAMES = {"cluster_manager.cds": "CDS", "listener_manager.lds": "LDS"}
EXEC_TIMEOUT = 20.0  # seconds
ACKNOWLEDGED = 15.0  # seconds from the sending of a configuration until a proxy that works has taken it
AT_ONCE = 8  # proxies that are asked side by side


@dataclass(frozen=True)
class ProxyUpdates:
    """A proxy's own count since it started: configuration type → updates taken, and updates rejected."""

    name: str
    accepted: Mapping[str, int]
    rejected: Mapping[str, int]


def proxy_statuses(
    kube: Kube,
    ask: Callable[[], tuple[ProxyStatus, ...]],
    *,
    within: str | None = None,
    clock: Clock | None = None,
) -> tuple[ProxyStatus, ...]:
    """Read every proxy's state: istiod's view, with an error for each type of which the proxy counted a rejection.

    What istiod is just sending has ACKNOWLEDGED seconds to be acknowledged: after a restart of the API
    server or of istiod itself everything is sent anew. istiod forgets a rejection once a later update is
    accepted; the proxy's counter does not.

    Args:
        kube: Client of the cluster.
        ask: Gives istiod's view of the proxies.
        within: The namespace whose proxies are asked for it, as a command in other people's pods is not
            ours to run, and who alone is waited for; None asks all.
        clock: Of the wait; the machine's where not given.

    Returns:
        One state a proxy.

    Raises:
        IstioError: istioctl fails.
        ExecError: A proxy's counters can't be read.
        WaitTimeout: istiod did not answer.
    """

    def lagging(found: tuple[ProxyStatus, ...]) -> int:
        asked = [each for each in found if within is None or each.name.rpartition(".")[2] == within]
        return sum(bool(_unsettled(each)) for each in asked)

    statuses = wait_or_last(
        "every proxy to acknowledge what istiod is sending",
        ask,
        ready=lambda found: not lagging(found),
        describe=lambda found: f"{lagging(found)} of {len(found)} lag",
        timeout=ACKNOWLEDGED,
        clock=clock,
    )
    counted = {each.name: each for each in read_updates(kube, kube.pods(within))}
    return tuple(_with_rejections(status, counted.get(status.name)) for status in statuses)


@contextmanager
def opened(kube: Kube, pages: Pages | None) -> Iterator[Pages]:
    """Open pages of istiod and the proxies for as long as the context lasts.

    Args:
        kube: Client of the cluster.
        pages: Given pages, which stay open; None for port-forwards of the context's own.

    Yields:
        The pages.
    """
    if pages is not None:
        yield pages
        return
    with PodPages(kube) as own:
        yield own


def ask_proxies(
    pages: Pages, pods: Sequence[PodSummary], path: str, params: Mapping[str, str | int]
) -> list[tuple[PodSummary, Any]]:
    """Ask the proxy of each pod for a page of its administration, several at once.

    Args:
        pages: Where the pages come from.
        pods: Pods with a proxy.
        path: For instance /config_dump.
        params: The query.

    Returns:
        Each pod with the JSON that its proxy answered, in the order of `pods`.

    Raises:
        QueryError: A proxy did not answer; asking again may help.
        KubeError: The port-forward was refused.
    """
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="proxy") as pool:
        answers = pool.map(lambda pod: pages.json(pod.namespace, pod.name, PROXY_PORT, path, params), pods)
        return list(zip(pods, answers, strict=True))


def read_updates(kube: Kube, pods: Sequence[PodSummary]) -> tuple[ProxyUpdates, ...]:
    """Ask each pod's proxy for its counters, several at once; pods without a running proxy are passed over.

    Raises ExecError naming the proxy that did not answer.
    """
    asked = [pod for pod in with_sidecar(pods) if pod.phase == "Running"]
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="proxy") as pool:
        return tuple(pool.map(lambda pod: _ask(kube, pod), asked))


def parse_updates(name: str, text: str) -> ProxyUpdates:
    """Return the counters in Envoy's /stats, summed by configuration type."""
    counts: dict[str, dict[str, int]] = {"success": {}, "rejected": {}}
    for found in COUNTER.finditer(text):
        kind = NAMES.get(found["manager"] or "", "RDS")
        into = counts[found["what"]]
        into[kind] = into.get(kind, 0) + int(found["value"])
    return ProxyUpdates(name, counts["success"], counts["rejected"])


def wait_synced(
    ask: Callable[[], tuple[ProxyStatus, ...]],
    expected: Sequence[str],
    *,
    timeout: float,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> tuple[ProxyStatus, ...]:
    """Wait until istiod has every expected proxy connected and nothing is left to acknowledge.

    Args:
        ask: Gives the proxies' states.
        expected: `pod.namespace` of each proxy.
        timeout: Seconds, at most.
        progress: Gets what is being done.
        clock: Of the wait; the machine's where not given.

    Returns:
        The proxies' states.

    Raises:
        WaitTimeout: A proxy lags or rejected something; its text names it, and what it said.
    """

    def lagging(statuses: tuple[ProxyStatus, ...]) -> list[str]:
        known = {status.name: status for status in statuses}
        return [f"{name}: {why}" for name in expected if (why := _unsettled(known.get(name)))]

    def told(statuses: tuple[ProxyStatus, ...]) -> str:
        late = lagging(statuses)
        progress(Update("proxies synced", len(expected) - len(late), len(expected)))
        return f"{len(expected) - len(late)} of {len(expected)} synced" + (
            f"; {'; '.join(late)}" if late else ""
        )

    return wait(
        f"{len(expected)} proxies to acknowledge their configuration",
        ask,
        ready=lambda statuses: not lagging(statuses),
        describe=told,
        timeout=timeout,
        delay=0.5,
        remedy="the istio-proxy container's log names what it rejected",
        clock=clock,
    )


def _unsettled(status: ProxyStatus | None) -> str:
    if status is None:
        return "not connected to istiod"
    parts = [f"{kind} {state}" for kind, state in status.types.items() if state not in ("SYNCED", "NOT SENT")]
    return ", ".join([*parts, *status.errors.values()])


def _with_rejections(status: ProxyStatus, counted: ProxyUpdates | None) -> ProxyStatus:
    if counted is None:
        return status
    told = {
        kind: f"the proxy counted {count} rejected updates since it started"
        for kind, count in counted.rejected.items()
        if count
    }
    return replace(status, errors={**told, **status.errors})


def _ask(kube: Kube, pod: PodSummary) -> ProxyUpdates:
    argv = ["pilot-agent", "request", "GET", "stats?filter=update_(success|rejected)"]
    done = run_in_pod(kube, pod.namespace, pod.name, SIDECAR, argv, timeout=EXEC_TIMEOUT, check=True)
    found = parse_updates(f"{pod.name}.{pod.namespace}", done.stdout)
    if not found.accepted:
        raise ExecError(
            f"the proxy of {pod.namespace}/{pod.name} tells no update counters",
            returncode=0,
            output=done.stdout[:500],
            remedy="look at its statistics: pilot-agent request GET stats",
        )
    return found
