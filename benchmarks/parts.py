"""The parts of the benchmarks: each measures one thing, and asserts no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import lab_by_hand, steps
from benchmarks.commands import CLUSTER, LAB, NETWORK, Bench
from benchmarks.growth import growth
from benchmarks.kept import night_words
from benchmarks.mesh_cost import mesh_cost
from benchmarks.record import Found
from meshlab.clusters.local.compile_profile import kept, table
from meshlab.config.settings import LabConfig, LocalSettings

RED = Path(__file__).parent / "red.yaml"


@dataclass(frozen=True)
class Part:
    """A part. title: in a sentence. goal: what is wanted of it. needs_run: it reads a run that the user names."""

    name: str
    title: str
    goal: str
    measure: Callable[[Bench], Found]
    needs_run: bool = False


def orchestration(bench: Bench) -> Found:
    """Measure `--help`, and out of a run's journal the time in which no step ran: Prefect's share.

    Args:
        bench: With a run, whose share is told; without one only `--help` is measured.
    """
    costs = [bench.python("flows.full_lab", "--help") for _ in range(bench.times)]
    found: dict[str, Any] = {"help_cpu": [round(cost.cpu, 3) for cost in costs]}
    share = {}
    if bench.run is not None:
        run = bench.timeline()
        share = {"prefect_share": [run.share_between]}
        found |= {
            "run": run.run_id,
            "flow": run.flow,
            "seconds": run.seconds,
            "between": round(run.between, 2),
        }
    return Found(share, {"help": [cost.seconds for cost in costs]}, found)


def critical_path(bench: Bench) -> Found:
    """Print the steps that a run's end waited for."""
    run = bench.timeline()
    print(steps.path_table(run), end="")
    path = [{"step": each.name, "seconds": round(each.ended - each.began, 2)} for each in run.critical_path()]
    return Found(runs={"run": run.run_id, "flow": run.flow, "seconds": run.seconds, "path": path})


def by_hand(bench: Bench) -> Found:
    """Run the lab and the document's commands in turns, on the same cluster's pins and images."""
    labs, hands, single, in_lab = [], [], [], []
    config = LabConfig(local=LocalSettings(name=CLUSTER[1], network=NETWORK))
    for turn in range(bench.times):
        cost, run = bench.lab(f"lab-{turn}", *LAB)
        folder = bench.folder / f"by-hand-{turn}"
        lab_by_hand.prepare(run, folder, config)
        said = lab_by_hand.one_turn(bench, folder)
        labs.append(cost.seconds)
        hands.append(said["whole"])
        single.append(said)
        in_lab.append({each.name: each.ended - each.began for each in steps.read(run).steps})
    ratios = [lab / hand for lab, hand in zip(labs, hands, strict=True)]
    return Found(
        {"lab_by_hand": ratios},
        {"lab": labs},
        {"by_hand": hands, "steps": _medians(single), "lab_steps": _medians(in_lab)},
    )


def _medians(turns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each step; all turns have the same ones."""
    return {name: round(median(each[name] for each in turns), 2) for name in turns[0]}


def red_run(bench: Bench) -> Found:
    """Run a green lab and one whose metrics nobody finds, in turns."""
    pairs = []
    for turn in range(bench.times):
        green, _ = bench.lab(f"green-{turn}", *LAB)
        red, _ = bench.lab(f"red-{turn}", *LAB, "--set", f"istio.operator_file={RED}", verdict="fail")
        pairs.append((green.seconds, red.seconds))
    ratios = [red / green for green, red in pairs]
    return Found(
        {"red_green": ratios}, {}, {"green": [one for one, _ in pairs], "red": [one for _, one in pairs]}
    )


def nightly(bench: Bench) -> Found:
    """Run nights on the mesh of a kept lab; the user names the lab's run."""
    run = bench.timeline()  # says so where none is named
    assert bench.run is not None
    cluster = lab_by_hand.result_of(bench.run, "start-cluster")
    words = night_words(cluster["kubeconfig"])
    costs = []
    for turn in range(bench.times):
        cost, _ = bench.lab(f"night-{turn}", *words, module="flows.nightly")
        costs.append(cost)
    return Found(
        {},
        {"nightly": [cost.seconds for cost in costs]},
        {"lab": run.run_id, "cpu": [cost.cpu for cost in costs]},
    )


def first_run(bench: Bench) -> Found:
    """Run the lab once from empty caches: modules, compiled packages, images. It takes as long as a first run does."""
    caches = bench.folder / "caches"
    folders = {
        "XDG_CACHE_HOME": "cache",
        "XDG_STATE_HOME": "s",
        "GOCACHE": "go-build",
        "GOMODCACHE": "go-mod",
        "PREFECT_HOME": "prefect",
    }
    cost, run = bench.lab("first-run", *LAB, env={key: str(caches / name) for key, name in folders.items()})
    profiles = kept(caches / "s" / "meshlab" / "logs")
    print(table(profiles), end="")
    parts: Mapping[str, Any] = {
        one.stage: {
            "seconds": one.seconds,
            "lookup": one.lookup,
            "packages_cpu": round(one.cpu("package"), 1),
            "links_cpu": round(one.cpu("link"), 1),
            "idle_cpu": round(one.idle, 1),
            "gogc": one.garbage,
        }
        for one in profiles
    }
    path = [
        {"step": each.name, "seconds": round(each.ended - each.began, 2)}
        for each in steps.read(run).critical_path()
    ]
    return Found(
        {}, {"first_run": [cost.seconds]}, {"cpu": round(cost.cpu, 1), "compile": parts, "path": path}
    )


def cluster(bench: Bench) -> Found:
    """Bring the cluster up and take it down, alone and as a step of the lab."""
    ups, downs, lab_steps, ratios = [], [], [], []
    for turn in range(bench.times):
        ups.append(bench.python("meshlab.clusters.local", "up", *CLUSTER).seconds)
        downs.append(bench.python("meshlab.clusters.local", "down", *CLUSTER).seconds)
        _, run = bench.lab(f"cluster-{turn}", *LAB)
        step = next(each for each in steps.read(run).steps if each.name == "start-cluster")
        lab_steps.append(step.ended - step.began)
        ratios.append(lab_steps[-1] / ups[-1])
    return Found({"step_alone_cluster": ratios}, {}, {"up": ups, "down": downs, "step": lab_steps})


PARTS = {
    part.name: part
    for part in (
        Part(
            "orchestration",
            "Prefect's share of a run, and --help",
            "at most 3 %; --help within 1 s",
            orchestration,
        ),
        Part("critical-path", "the steps that a run's end waited for", "told", critical_path, needs_run=True),
        Part(
            "lab-by-hand",
            "the lab beside the document's commands alone",
            "at most 1.1; the lab within 100 s",
            by_hand,
        ),
        Part("red-run", "a red run beside a green one", "at most 1.5", red_run),
        Part("nightly", "a night on a kept lab", "within 100 s", nightly, needs_run=True),
        Part("first-run", "a first run, nothing compiled", "within 10 min on two quiet cores", first_run),
        Part("cluster", "the cluster as a step of the lab, beside itself alone", "1.0", cluster),
        Part(
            "growth",
            "nights on 1, 4 and 10 copies of Bookinfo, and with 300 Services that nobody calls",
            "10 copies: at most 10; 300 Services: at most 1.3",
            growth,
        ),
        Part(
            "mesh-cost",
            "times, CPU and memory with sidecars and without, beside Istio's figures",
            "told",
            mesh_cost,
        ),
    )
}
