"""The parts of the benchmarks: each measures one thing, and asserts no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import lab_by_hand, steps
from benchmarks.commands import CLUSTER, LAB, NETWORK, Bench
from benchmarks.growth import growth
from benchmarks.kept import lab as kept_lab
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
    """Measure `--help`, and out of a run's journal the time in which nothing of the lab was done: Prefect's share.

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
    return Found(runs={"run": run.run_id, "flow": run.flow, "seconds": run.seconds, "path": _path(run)})


def by_hand(bench: Bench) -> Found:
    """Run the lab and the document's commands in turns, on the same cluster's pins and images."""
    labs, hands, single, in_lab, shares = [], [], [], [], []
    config = LabConfig(local=LocalSettings(name=CLUSTER[1], network=NETWORK))
    try:
        for turn in range(bench.times):
            cost, run = bench.lab(f"lab-{turn}", *LAB)
            folder = bench.folder / f"by-hand-{turn}"
            lab_by_hand.prepare(run, folder, config)
            said = lab_by_hand.one_turn(bench, folder)
            read = steps.read(run)
            labs.append(cost.seconds)
            hands.append(said["whole"])
            single.append(said)
            in_lab.append({each.name: each.ended - each.began for each in read.steps})
            shares.append(read.share_between)
    finally:  # a command of the script may fail while its cluster is up
        bench.python("meshlab.clusters.local", "down", *CLUSTER)
    ratios = [lab / hand for lab, hand in zip(labs, hands, strict=True)]
    return Found(
        {"lab_by_hand": ratios, "prefect_share": shares},
        {"lab": labs},
        {
            "by_hand": hands,
            "steps": _medians(single),
            "lab_steps": _medians(in_lab),
            "path": _path(read),
        },
    )


def _path(run: steps.Timeline) -> list[dict[str, Any]]:
    """The critical path of a run: each step with its seconds."""
    return [{"step": each.name, "seconds": round(each.ended - each.began, 2)} for each in run.critical_path()]


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
    """Run nights on the mesh of a kept lab: that of the run which the user names, else one that goes with the part."""
    with ExitStack() as stack:
        if bench.run is not None:
            words = night_words(lab_by_hand.result_of(bench.run, "start-cluster")["kubeconfig"])
        else:
            words = stack.enter_context(kept_lab(bench, "nightly")).night
        costs = [bench.lab(f"night-{turn}", *words, module="flows.nightly")[0] for turn in range(bench.times)]
    return Found({}, {"nightly": [cost.seconds for cost in costs]}, {"cpu": [cost.cpu for cost in costs]})


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
    return Found(
        {},
        {"first_run": [cost.seconds]},
        {"cpu": round(cost.cpu, 1), "compile": parts, "path": _path(steps.read(run))},
    )


def cluster(bench: Bench) -> Found:
    """Bring the cluster up, Bookinfo on it without a mesh, and take it down; beside it the cluster as a step of the lab."""
    took: dict[str, list[float]] = {"up": [], "bookinfo": [], "down": [], "step": []}
    try:
        for turn in range(bench.times):
            _, run = bench.lab(f"cluster-{turn}", *LAB)
            step = next(each for each in steps.read(run).steps if each.name == "start-cluster")
            took["step"].append(step.ended - step.began)
            took["up"].append(bench.python("meshlab.clusters.local", "up", *CLUSTER).seconds)
            took["bookinfo"].append(lab_by_hand.bookinfo_ready(run))
            took["down"].append(bench.python("meshlab.clusters.local", "down", *CLUSTER).seconds)
    finally:
        bench.python("meshlab.clusters.local", "down", *CLUSTER)
    ratios = [step / up for step, up in zip(took["step"], took["up"], strict=True)]
    return Found({"step_alone_cluster": ratios}, {}, took)


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
        Part("nightly", "a night on a kept lab", "within 100 s", nightly),
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
