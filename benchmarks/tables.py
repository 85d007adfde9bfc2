"""Tables of single parts for docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any


def number(value: float) -> str:
    """Write a number with three digits, and from 100 on as an integer."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def hand_table(by_hand: Mapping[str, float], lab: Mapping[str, float]) -> list[str]:
    """Write the steps of the document by hand, and those of the lab.

    Args:
        by_hand: Step → seconds, the median; `whole` is all of it.
        lab: The same of the lab, whose steps run side by side where they can.

    Returns:
        The lines of a table, the longest steps of the lab beside those by hand.
    """
    rest = sorted(lab.items(), key=lambda item: -item[1])[: len(by_hand)]
    typed = list(by_hand.items())
    lines = [
        "Seconds of each step, the median; the lab's run side by side where they can, and its longest are here.",
        "",
        "| by hand | s | in the lab | s |",
        "|---|--:|---|--:|",
    ]
    for row in range(max(len(typed), len(rest))):
        cells = [
            f"{pairs[row][0]} | {number(pairs[row][1])}" if row < len(pairs) else " | "
            for pairs in (typed, rest)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def first_run_table(
    compiled: Mapping[str, Mapping[str, Any]], path: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Write what a first run compiles, and the steps that its end waits for.

    Args:
        compiled: Stage → `seconds` of wall time, `lookup` of it for finding and fetching modules, processor seconds of
            packages (`packages_cpu`), of links (`links_cpu`), and those that nobody used (`idle_cpu`).
        path: Steps in their order, with `step` and `seconds`.

    Returns:
        The lines of a table, and a sentence.
    """
    lines = [
        "| compiled in a first run | wall s | of it modules | packages, CPU s | links, CPU s | idle, CPU s |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    keys = ("seconds", "lookup", "packages_cpu", "links_cpu", "idle_cpu")
    for stage, one in compiled.items():
        lines.append(f"| {stage} | {' | '.join(number(one[key]) for key in keys)} |")
    longest = [each for each in path if each["seconds"] >= 5]
    told = ", ".join(f"{each['step']} {number(each['seconds'])}" for each in longest)
    return [*lines, "", f"The first run's end waited for these steps (s, those of 5 and more): {told}."]


def cluster_table(took: Mapping[str, Sequence[float]]) -> list[str]:
    """Write what the cluster took alone, and as a step of the lab.

    Args:
        took: `up`, `bookinfo`, `down` and `step`, each with the seconds of every turn.

    Returns:
        The lines of a table.
    """
    said = {
        "up": "three nodes Ready, from nothing",
        "bookinfo": "then Bookinfo and sleep ready, without a mesh",
        "down": "then gone",
        "step": "the step `start-cluster` of a lab, beside which Prefect is imported and its server starts",
    }
    lines = ["| the cluster | median, s | single values |", "|---|--:|---|"]
    return lines + [
        f"| {said[name]} | {number(median(took[name]))} | {', '.join(map(number, took[name]))} |"
        for name in said
        if name in took
    ]
