"""What a run's pods ask for, against what nodes, quotas and limits leave free: added up before anything is applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

Object = Mapping[str, Any]
Amounts = Mapping[str, Decimal]  # resource → cores, bytes or pods
ZERO = Decimal(0)
CPU, MEMORY, PODS = "cpu", "memory", "pods"
ENDED = ("Succeeded", "Failed")
KEEPS_OFF = ("NoSchedule", "NoExecute")
# A quota's key → what of a pod it counts.
COUNTED = {
    "cpu": ("requests", CPU),
    "memory": ("requests", MEMORY),
    "requests.cpu": ("requests", CPU),
    "requests.memory": ("requests", MEMORY),
    "limits.cpu": ("limits", CPU),
    "limits.memory": ("limits", MEMORY),
}


@dataclass(frozen=True)
class ContainerNeed:
    """What a container asks for: resource → amount, before a LimitRange fills in what is missing."""

    name: str
    requests: Amounts = field(default_factory=dict)
    limits: Amounts = field(default_factory=dict)

    def of(self, kind: str) -> Amounts:
        """Its `requests` or its `limits`."""
        return self.requests if kind == "requests" else self.limits


@dataclass(frozen=True)
class PodNeed:
    """One pod that the run starts. init: containers that end before the others start."""

    name: str
    containers: tuple[ContainerNeed, ...]
    init: tuple[ContainerNeed, ...] = ()

    def total(self, kind: str, resource: str) -> Decimal:
        """Add up requests or limits as the scheduler does.

        Args:
            kind: `requests` or `limits`.
            resource: cpu or memory.

        Returns:
            Cores or bytes.
        """
        together = sum((each.of(kind).get(resource, ZERO) for each in self.containers), ZERO)
        return max([together, *(each.of(kind).get(resource, ZERO) for each in self.init)])


@dataclass(frozen=True)
class NodeRoom:
    """What a node has left: resource → amount."""

    name: str
    free: Amounts


@dataclass(frozen=True)
class Shortfall:
    """Something that does not fit. where: what has no room. what: how much is missing, in words."""

    where: str
    what: str


def amounts(found: Mapping[str, Any] | None) -> dict[str, Decimal]:
    """Read quantities such as 100m and 128Mi; CPU in cores, memory in bytes."""
    return {key: quantity(value) for key, value in (found or {}).items()}


def quantity(value: str | float) -> Decimal:
    """Read one quantity of Kubernetes'."""
    return Decimal(parse_quantity(value))  # type: ignore[no-untyped-call]


def need_of(name: str, found: Object | None) -> ContainerNeed:
    """Read a container's `resources`.

    Args:
        name: The container's.
        found: Its `resources`; None for none.

    Returns:
        What it asks for. A limit without a request is a request, too.
    """
    limits = amounts((found or {}).get("limits"))
    return ContainerNeed(name, {**limits, **amounts((found or {}).get("requests"))}, limits)


def with_defaults(pod: PodNeed, ranges: Iterable[Object]) -> PodNeed:
    """Fill in what LimitRanges give to containers that ask for nothing.

    Args:
        pod: The pod.
        ranges: LimitRanges of its namespace.

    Returns:
        The pod as it is admitted.
    """
    rules = [rule for rule in _rules(ranges) if rule.get("type") == "Container"]

    def filled(each: ContainerNeed) -> ContainerNeed:
        requests, limits = dict(each.requests), dict(each.limits)
        for rule in rules:
            for key, value in amounts(rule.get("default")).items():
                limits.setdefault(key, value)
            for key, value in amounts(rule.get("defaultRequest")).items():
                requests.setdefault(key, value)
        for key, value in limits.items():
            requests.setdefault(key, value)
        return ContainerNeed(each.name, requests, limits)

    return PodNeed(pod.name, tuple(map(filled, pod.containers)), tuple(map(filled, pod.init)))


def rooms(
    nodes: Iterable[Object],
    pods: Iterable[Object],
    *,
    selector: Mapping[str, str] | None = None,
    tolerations: Sequence[Object] = (),
) -> tuple[NodeRoom, ...]:
    """Find what the nodes that may run our pods have left: allocatable, less what their pods request.

    Args:
        nodes: All nodes.
        pods: All pods of the cluster.
        selector: Labels that a node must have.
        tolerations: Of our pods.

    Returns:
        The nodes with their room.
    """
    used: dict[str, dict[str, Decimal]] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if not node or (pod.get("status") or {}).get("phase") in ENDED:
            continue
        need, on = _of_pod(pod), used.setdefault(node, {})
        for key in (CPU, MEMORY):
            on[key] = on.get(key, ZERO) + need.total("requests", key)
        on[PODS] = on.get(PODS, ZERO) + 1
    found = []
    for node in nodes:
        meta, spec = node["metadata"], node.get("spec") or {}
        if spec.get("unschedulable") or not (selector or {}).items() <= (meta.get("labels") or {}).items():
            continue
        if any(not _tolerated(taint, tolerations) for taint in spec.get("taints") or ()):
            continue
        there, on = amounts((node.get("status") or {}).get("allocatable")), used.get(meta["name"], {})
        free = {key: there.get(key, ZERO) - on.get(key, ZERO) for key in (CPU, MEMORY, PODS)}
        found.append(NodeRoom(meta["name"], free))
    return tuple(found)


def node_shortfalls(wanted: Sequence[PodNeed], nodes: Sequence[NodeRoom]) -> list[Shortfall]:
    """Place the pods on the nodes, the largest first, and tell what is left over.

    Args:
        wanted: The pods.
        nodes: What each node has left.

    Returns:
        What is missing; empty where all fit.
    """
    if not nodes:
        return [
            Shortfall("nodes", "no node may run the run's pods: all are cordoned, tainted or not selected")
        ]
    free = [dict(node.free) for node in nodes]
    homeless = []
    for pod in sorted(wanted, key=lambda each: each.total("requests", CPU), reverse=True):
        asks = _asks(pod)
        for room in free:
            if all(room[key] >= amount for key, amount in asks.items()):
                for key, amount in asks.items():
                    room[key] -= amount
                break
        else:
            homeless.append(pod)
    if not homeless:
        return []
    asked = {key: sum((_asks(pod)[key] for pod in wanted), ZERO) for key in (CPU, MEMORY, PODS)}
    there = {key: sum((max(node.free[key], ZERO) for node in nodes), ZERO) for key in (CPU, MEMORY, PODS)}
    short = [key for key in asked if asked[key] > there[key]]
    told = [
        f"{_shown(key, asked[key])} asked for, {_shown(key, there[key])} free on {len(nodes)} nodes, "
        f"{_shown(key, asked[key] - there[key])} short"
        for key in short
    ]
    if not told:
        first = _asks(homeless[0])
        told = [
            f"no node has {_shown(CPU, first[CPU])} and {_shown(MEMORY, first[MEMORY])} free for {homeless[0].name}"
        ]
    return [Shortfall("nodes", each) for each in told]


def used_by(pods: Iterable[Object]) -> tuple[PodNeed, ...]:
    """Read what pods ask for that are there."""
    return tuple(_of_pod(pod) for pod in pods)


def quota_shortfalls(
    wanted: Sequence[PodNeed], quotas: Iterable[Object], *, already: Sequence[PodNeed] = ()
) -> list[Shortfall]:
    """Tell what the quotas of the namespace do not leave for the pods. Quotas with scopes are for other pods.

    Args:
        wanted: The pods, with what LimitRanges fill in.
        quotas: ResourceQuotas of the namespace.
        already: Those of the pods that are there and counted in what is used.

    Returns:
        What is missing, and what every container would have to name.
    """
    found = []
    for quota in quotas:
        spec, status = quota.get("spec") or {}, quota.get("status") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        where = f"ResourceQuota {quota['metadata']['name']}"
        hard, used = amounts(spec.get("hard")), amounts(status.get("used"))
        for key, most in hard.items():
            free = most - used.get(key, ZERO)
            if key in ("pods", "count/pods"):
                asked, resource = Decimal(len(wanted) - len(already)), PODS
            elif key in COUNTED:
                kind, resource = COUNTED[key]
                silent = _silent(wanted, kind, resource)
                if silent:
                    found.append(
                        Shortfall(where, f"demands {kind}.{resource} of every container, {silent} names none")
                    )
                    continue
                asked = sum((pod.total(kind, resource) for pod in wanted), ZERO)
                asked -= sum((pod.total(kind, resource) for pod in already), ZERO)
            else:
                continue
            if asked > free:
                short = f"{_shown(resource, asked - free)} short"
                told = f"{_shown(resource, asked)} asked for, {_shown(resource, max(free, ZERO))} left"
                found.append(Shortfall(where, f"{key}: {told}, {short}"))
    return found


def limit_problems(wanted: Sequence[PodNeed], ranges: Iterable[Object]) -> list[Shortfall]:
    """Tell which containers a LimitRange refuses: above its most, or below its least.

    Args:
        wanted: The pods, with what LimitRanges fill in.
        ranges: LimitRanges of the namespace.

    Returns:
        One for each rule that is broken.
    """
    found: dict[tuple[str, str, str], Shortfall] = {}
    for each in ranges:
        where = f"LimitRange {each['metadata']['name']}"
        for rule in _rules([each]):
            if rule.get("type") != "Container":
                continue
            most, least = amounts(rule.get("max")), amounts(rule.get("min"))
            for pod in wanted:
                for one in (*pod.containers, *pod.init):
                    for key, value in most.items():
                        if (has := one.limits.get(key, ZERO)) > value:
                            told = f"allows a container {_shown(key, value)}, {one.name} of {pod.name} has {_shown(key, has)}"
                            found.setdefault((where, key, "max"), Shortfall(where, told))
                    for key, value in least.items():
                        if (asks := one.requests.get(key, value)) < value:
                            told = f"demands {_shown(key, value)}, {one.name} of {pod.name} asks for {_shown(key, asks)}"
                            found.setdefault((where, key, "min"), Shortfall(where, told))
    return list(found.values())


def _silent(wanted: Sequence[PodNeed], kind: str, resource: str) -> str:
    for pod in wanted:
        for one in (*pod.containers, *pod.init):
            if resource not in one.of(kind):
                return f"{one.name} of {pod.name}"
    return ""


def _asks(pod: PodNeed) -> dict[str, Decimal]:
    return {CPU: pod.total("requests", CPU), MEMORY: pod.total("requests", MEMORY), PODS: Decimal(1)}


def _of_pod(pod: Object) -> PodNeed:
    spec = pod.get("spec") or {}
    lasting = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    passing = [each for each in spec.get("initContainers") or () if each not in lasting]
    return PodNeed(
        pod["metadata"]["name"],
        tuple(need_of(each["name"], each.get("resources")) for each in (*spec["containers"], *lasting)),
        tuple(need_of(each["name"], each.get("resources")) for each in passing),
    )


def _rules(ranges: Iterable[Object]) -> Iterator[Object]:
    for each in ranges:
        yield from (each.get("spec") or {}).get("limits") or ()


def _tolerated(taint: Object, tolerations: Sequence[Object]) -> bool:
    if taint.get("effect") not in KEEPS_OFF:
        return True
    return any(
        (not each.get("key") or each["key"] == taint.get("key"))
        and (each.get("operator") == "Exists" or str(each.get("value", "")) == str(taint.get("value", "")))
        and each.get("effect") in (None, "", taint.get("effect"))
        for each in tolerations
    )


def _shown(resource: str, amount: Decimal) -> str:
    if resource == MEMORY:
        return f"{amount / 2**20:.0f} MiB of memory"
    if resource == CPU:
        return f"{amount:.3f} CPU"
    return f"{amount:.0f} pods"
