"""Waits for Deployments and nodes: what kubectl's `rollout status` waits for, with the cause of a timeout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from meshlab.core.errors import KubeError, RolloutError
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.kube.client import Kube
from meshlab.kube.diagnosis import Cause, belongs, explain, find_causes
from meshlab.kube.pods import condition, summarise

DELAY = 0.3  # seconds between looks at the workloads
SUCCESSES = 3  # looks in a row that must find everything ready
STEADY = 10.0  # seconds that a pod which restarted must stay up
CAUSES_EVERY = 2.0  # seconds between searches for a cause, which ask for pods, events and logs


@dataclass(frozen=True)
class NodeSummary:
    """A node: whether it is Ready (and why not), kubelet version, container runtime, OS and address."""

    name: str
    ready: bool
    reason: str
    kubelet: str
    runtime: str
    ip: str


def wait_deployments(
    kube: Kube,
    namespace: str,
    names: Sequence[str] | None,
    *,
    timeout: float,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> tuple[str, ...]:
    """Wait for several Deployments of a namespace at once.

    Args:
        kube: Client of the cluster.
        namespace: Theirs.
        names: Their names; all that are there, at least one, where None.
        timeout: Seconds, at most.
        progress: Told how far it came.
        clock: Of the wait; the real one where not given.

    Returns:
        Their names.

    Raises:
        RolloutError: One does not get available; its text names the cause.
    """
    clock = clock or SystemClock()
    watch = CauseWatch(kube, namespace, clock)
    steady = _SteadyWatch(kube, namespace, clock)

    def probe() -> _State:
        found = {w["metadata"]["name"]: w for w in kube.objects("apps/v1", "Deployment", namespace)}
        wanted = {name: found.get(name) for name in (found if names is None else names)}
        lacks = {name: why for name, workload in wanted.items() if (why := _missing(workload))}
        return _State(wanted, lacks or steady.restarted([w for w in wanted.values() if w is not None]))

    def ready(state: _State) -> bool:
        detail = ", ".join(state.pending)
        progress(Update(f"deployments of {namespace}", state.done, len(state.workloads), detail))
        return bool(state.workloads) and not state.pending

    state = wait(
        f"Deployments of {namespace}" if names is None else f"Deployment {', '.join(names)} of {namespace}",
        probe,
        ready=ready,
        error=lambda state: watch.verdict(state.unready()),
        explain=lambda: explain(kube, namespace, of=probe().unready()),
        timeout=timeout,
        delay=DELAY,
        successes=SUCCESSES,
        remedy=f"kubectl -n {namespace} get pods, and describe the ones that are not Ready",
        clock=clock,
    )
    return tuple(sorted(state.workloads))


def nodes(kube: Kube) -> tuple[NodeSummary, ...]:
    """The cluster's nodes, by name."""
    return tuple(sorted(map(_node, kube.objects("v1", "Node")), key=lambda node: node.name))


def nodes_ready(
    kube: Kube,
    count: int,
    *,
    timeout: float,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> tuple[NodeSummary, ...]:
    """Wait until at least `count` nodes are there and every node is Ready.

    Args:
        kube: Client of the cluster.
        count: How many.
        timeout: Seconds, at most.
        progress: Told how far it came.
        clock: Of the wait; the real one where not given.

    Returns:
        The nodes.

    Raises:
        WaitTimeout: They are not; its text names the others.
    """

    def told(found: tuple[NodeSummary, ...]) -> str:
        unready = [f"{node.name}: {node.reason}" for node in found if not node.ready]
        return f"{len(found) - len(unready)} of {count} nodes Ready" + (
            f"; {'; '.join(unready)}" if unready else ""
        )

    def ready(found: tuple[NodeSummary, ...]) -> bool:
        good = sum(node.ready for node in found)
        progress(Update("nodes", good, count, told(found)))
        return good >= count and good == len(found)

    return wait(
        f"{pluralize(count, 'nodes')} to be Ready",
        lambda: nodes(kube),
        ready=ready,
        describe=told,
        timeout=timeout,
        delay=DELAY,
        remedy="look at the kubelet's log on the node that is not Ready",
        clock=clock,
    )


@dataclass(frozen=True)
class _State:
    """The workloads that are awaited (None: not there), and what each unfinished one lacks."""

    workloads: Mapping[str, Mapping[str, Any] | None]
    pending: Mapping[str, str]

    @property
    def done(self) -> int:
        return len(self.workloads) - len(self.pending)

    def unready(self) -> list[Mapping[str, Any]]:
        return [w for name, w in self.workloads.items() if w is not None and name in self.pending]

    def __str__(self) -> str:
        waiting = "; ".join(f"{name}: {why}" for name, why in self.pending.items())
        return f"{self.done} of {len(self.workloads)} ready" + (f"; {waiting}" if waiting else "")


class _SteadyWatch:
    """Finds pods that come up only to crash again.

    Without a readiness probe each start makes them Ready for a moment.
    """

    def __init__(self, kube: Kube, namespace: str, clock: Clock) -> None:
        self._kube, self._namespace, self._clock = kube, namespace, clock
        self._seen: dict[str, tuple[int, float]] = {}

    def restarted(self, workloads: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Find finished workloads with a pod that restarted and has not stayed up for STEADY seconds yet.

        Returns their names, each with its reason.
        """
        now, found = self._clock.now(), {}
        for pod in self._kube.objects("v1", "Pod", self._namespace):
            owner = next((w for w in workloads if belongs(pod["metadata"].get("labels") or {}, [w])), None)
            restarts = summarise(pod).restarts
            if owner is None or restarts == 0 or _up_for_long(pod):
                continue
            count, since = self._seen.get(pod["metadata"]["uid"], (0, now))
            if count != restarts:
                since = now
            self._seen[pod["metadata"]["uid"]] = (restarts, since)
            if now - since < STEADY:
                name = owner["metadata"]["name"]
                found[name] = f"pod {pod['metadata']['name']} has restarted ({restarts}), it must stay up"
        return found


def _up_for_long(pod: Mapping[str, Any]) -> bool:
    """Whether every container runs longer than a minute: its restarts are history."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    starts = [s.get("state", {}).get("running", {}).get("startedAt") for s in statuses]
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    return bool(starts) and all(start and datetime.fromisoformat(start) < long_ago for start in starts)


class CauseWatch:
    """Remembers since when each cause is there, and tells when one has lasted too long to heal."""

    def __init__(self, kube: Kube, namespace: str, clock: Clock) -> None:
        self._kube, self._namespace, self._clock = kube, namespace, clock
        self._since: dict[tuple[str, str], float] = {}
        self._asked = clock.now()

    def verdict(self, workloads: Sequence[Mapping[str, Any]]) -> RolloutError | None:
        """Return the error of a cause that outlasted its patience; None while waiting on makes sense."""
        now = self._clock.now()
        if not workloads or now - self._asked < CAUSES_EVERY:
            return None
        self._asked = now
        try:
            causes = find_causes(self._kube, self._namespace, of=workloads)
        except KubeError as problem:
            if problem.retryable or problem.status == 404:  # a pod can go while its log is being read
                return None
            raise
        keys = {(cause.subject, cause.diagnosis.category): cause for cause in causes}
        self._since = {key: self._since.get(key, now) for key in keys}
        for key, cause in keys.items():
            patience = cause.diagnosis.patience
            if patience is not None and now - self._since[key] >= patience:
                return _rollout_error(cause)
        return None


def _rollout_error(cause: Cause) -> RolloutError:
    return RolloutError(
        f"{cause.subject} does not start: {cause.diagnosis}", remedy=cause.diagnosis.resolution
    )


def _missing(workload: Mapping[str, Any] | None) -> str:
    """Say what a Deployment still lacks; empty when nothing.

    Rules: kubectl's rollout status (polymorphichelpers).
    """
    if workload is None:
        return "does not exist yet"
    status, spec = workload.get("status", {}), workload["spec"]
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return "its change is not seen yet"
    wanted = spec.get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    old = status.get("replicas", 0) - updated
    if updated < wanted:
        return f"{updated} of {wanted} pods updated"
    if old > 0:
        return f"{old} old pods still there"
    return "" if available >= wanted else f"{available} of {wanted} pods available"


def _node(node: Mapping[str, Any]) -> NodeSummary:
    state, info = condition(node, "Ready"), node.get("status", {}).get("nodeInfo", {})
    addresses = {a["type"]: a["address"] for a in node.get("status", {}).get("addresses", [])}
    return NodeSummary(
        name=node["metadata"]["name"],
        ready=state.get("status") == "True",
        reason=state.get("message") or state.get("reason") or "no status yet",
        kubelet=info.get("kubeletVersion", ""),
        runtime=info.get("containerRuntimeVersion", ""),
        ip=addresses.get("InternalIP", ""),
    )
