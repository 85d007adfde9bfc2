"""How a night grows with the mesh: 1, 4 and 10 copies of Bookinfo, and 300 Services that nobody calls."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import kept
from benchmarks.commands import Bench
from benchmarks.record import Found
from meshlab.app import bookinfo
from meshlab.core.errors import MeshlabError
from meshlab.istio.images import replace
from meshlab.kube.apply import ObjectRef, apply, delete
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments

COPIES = (1, 4, 10)  # of Bookinfo and sleep, seven workloads each; the kept lab's own is one of them
SERVICES, NAMESPACE = 300, "nobody-calls"
INOTIFY = ("--set", "local.inotify_instances=4096")  # about eighty sidecars start
READY_WITHIN = 1200.0  # seconds; sixty pods start on two cores
Object = dict[str, Any]


@dataclass(frozen=True)
class CheckCost:
    """What a check took: seconds, calls of the API in that time, and megabytes of the process at most."""

    seconds: float
    calls: int
    memory_mb: float


@dataclass(frozen=True)
class Night:
    """A night: its seconds, calls of the API, and each check's cost."""

    seconds: float
    calls: int
    checks: Mapping[str, CheckCost]


def growth(bench: Bench) -> Found:
    """Run nights while the mesh grows, and then with Services that nobody calls."""
    nights: dict[str, list[Night]] = {}
    with kept.lab(bench, "growth", *INOTIFY) as lab:
        for turn in range(bench.times):
            for number in COPIES:
                spaces = put_copies(lab, range(2, number + 1))
                nights.setdefault(f"{number} copies", []).append(
                    _night(bench, lab, f"{turn}-{number}-copies")
                )
            remove(lab.kube, spaces)
            apply(lab.kube, [_namespace(NAMESPACE), *services(SERVICES)])
            nights.setdefault(f"{SERVICES} services", []).append(_night(bench, lab, f"{turn}-services"))
            remove(lab.kube, [NAMESPACE])
    one, ten, many = (nights[name] for name in ("1 copies", f"{COPIES[-1]} copies", f"{SERVICES} services"))
    return Found(
        {"growth_10_copies": _ratios(ten, one), "nightly_300_services": _ratios(many, one)},
        {},
        {"nights": {name: [asdict(each) for each in single] for name, single in nights.items()}},
    )


def _ratios(these: Sequence[Night], those: Sequence[Night]) -> list[float]:
    return [one.seconds / other.seconds for one, other in zip(these, those, strict=True)]


def _night(bench: Bench, lab: kept.Kept, name: str) -> Night:
    notes = bench.folder / f"{name}.notes"
    cost, run = bench.lab(f"night-{name}", *lab.night, module="flows.nightly", watch=notes)
    return read_night(run, notes, cost.seconds)


def read_night(run: Path, notes: Path, seconds: float) -> Night:
    """Read what each check of a night took. Checks that ran side by side share calls and memory.

    Args:
        run: The night's directory.
        notes: What `benchmarks.watched` noted.
        seconds: The night's own.

    Returns:
        The night.

    Raises:
        MeshlabError: Its journal or its notes can't be read.
    """
    try:
        noted = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
        journal = (run / "evidence" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as problem:
        raise MeshlabError(f"the night can't be read: {problem}", remedy="run the part again") from problem
    calls = [at for at, kind, _ in noted if kind == "call"]
    memory = [(at, value) for at, kind, value in noted if kind == "memory"]
    checks = {}
    for event in map(json.loads, journal):
        if event["event"] == "check" and event["verdict"] != "skipped":
            ended = datetime.fromisoformat(event["at"]).timestamp()
            began = ended - event["seconds"]
            # The memory was looked at now and then: the last look before the end counts, too.
            held = [value for at, value in memory if began <= at <= ended]
            held += [value for at, value in memory if at <= ended][-1:]
            made = sum(began <= at <= ended for at in calls)
            checks[event["id"]] = CheckCost(event["seconds"], made, round(max(held, default=0) / 1e6, 1))
    return Night(seconds, len(calls), checks)


def put_copies(lab: kept.Kept, numbers: Sequence[int]) -> list[str]:
    """Put copies of Bookinfo and sleep up, each in a namespace of its own; returns the namespaces.

    Args:
        lab: The kept lab.
        numbers: The copies' numbers; one that is there stays as it is.
    """
    wanted = replace(bookinfo.manifests(lab.distribution), lab.images)
    spaces = [f"copy-{number}" for number in numbers]
    for space in spaces:
        apply(lab.kube, [_namespace(space, {"istio-injection": "enabled"}), *_inside(wanted, space)])
    for space in spaces:
        wait_deployments(lab.kube, space, None, timeout=READY_WITHIN)
    return spaces


def _inside(documents: Sequence[Object], space: str) -> list[Object]:
    return [{**each, "metadata": {**each["metadata"], "namespace": space}} for each in documents]


def _namespace(name: str, labels: Mapping[str, str] | None = None) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}


def services(number: int) -> list[Object]:
    """Make Services with two endpoints each, at addresses that are kept for documentation (RFC 5737)."""
    found: list[Object] = []
    for each in range(number):
        name = f"unused-{each}"
        meta = {"name": name, "namespace": NAMESPACE}
        ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}})
        addresses = [f"{net}.{each % 250 + 1}" for net in ("192.0.2", "198.51.100")]
        found.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**meta, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
                "ports": ports,
            }
        )
    return found


def remove(kube: Kube, spaces: Sequence[str]) -> None:
    """Remove namespaces, and wait until they are gone.

    Args:
        kube: Client of the cluster.
        spaces: Their names.
    """
    delete(kube, [ObjectRef("v1", "Namespace", None, each) for each in spaces], timeout=READY_WITHIN)


def growth_table(nights: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Write the nights, and the ten checks that grew most, as lines of Markdown tables.

    Args:
        nights: Of `growth`: name → its nights.

    Returns:
        The lines.
    """
    names = in_order(nights)
    middle = {
        name: sorted(single, key=lambda each: each["seconds"])[len(single) // 2]
        for name, single in nights.items()
    }
    lines = ["| mesh | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines.append("| a night, s | " + " | ".join(f"{middle[name]['seconds']:.4g}" for name in names) + " |")
    lines.append("| calls of the API | " + " | ".join(str(middle[name]["calls"]) for name in names) + " |")
    grown = []
    for check, first in middle[names[0]]["checks"].items():
        each = [middle[name]["checks"].get(check) for name in names]
        if all(each):
            grown.append((max(one["seconds"] for one in each) / max(first["seconds"], 0.05), check, each))
    for _, check, each in sorted(grown, key=lambda one: -one[0])[:10]:
        cells = (f"{one['seconds']:.2f} s, {one['calls']} calls, {one['memory_mb']:.0f} MB" for one in each)
        lines.append(f"| `{check}` | " + " | ".join(cells) + " |")
    last = f"{COPIES[-1]} copies"
    if last in middle:
        faster = grown_faster(middle[names[0]]["checks"], middle[last]["checks"], COPIES[-1] / COPIES[0])
        told = "; ".join(faster) or "none"
        lines += [
            "",
            f"Checks of which seconds, calls or memory grew more than the workloads did ({COPIES[-1]} times): {told}.",
        ]
    return lines


def in_order(names: Iterable[str]) -> list[str]:
    """Sort the names of meshes: copies by their number, then Services.

    Args:
        names: `NUMBER WHAT`.

    Returns:
        The names.
    """
    return sorted(names, key=lambda name: (name.split()[1], int(name.split()[0])))


def grown_faster(
    few: Mapping[str, Mapping[str, float]], many: Mapping[str, Mapping[str, float]], times: float
) -> list[str]:
    """Name the checks whose cost grew more than the workloads did.

    Args:
        few: Check → its cost on the small mesh.
        many: The same on the large one.
        times: How often the workloads of the small one are in the large one.

    Returns:
        A line for each: the check, and what grew by how much. Times below 0.1 s and a single call count as these.
    """
    least = {"seconds": 0.1, "calls": 1, "memory_mb": 1}
    found = []
    for check, cost in few.items():
        grown = {
            what: many[check][what] / max(cost[what], floor) for what, floor in least.items() if check in many
        }
        if more := [f"{what} {by:.3g}" for what, by in grown.items() if by > times]:
            found.append(f"`{check}` ({', '.join(more)})")
    return found
