"""Writes the measured part of docs/performance.md, and its chart, from `latest.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree import ElementTree as ET

from benchmarks.growth import growth_table, in_order
from benchmarks.mesh_cost import cost_table
from benchmarks.parts import PARTS
from benchmarks.tables import cluster_table, first_run_table, hand_table, number
from meshlab.core.files import write_atomically
from meshlab.report.svg import add, picture, standalone

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PICTURES = PAGE.parent / "pictures"
SHOWN = {
    "performance.svg": "seconds of each thing that was measured",
    "growth.svg": "seconds of a night while the mesh grows",
}
BEGIN, END = "<!-- measured: begin (make bench writes it) -->", "<!-- measured: end -->"
ROW, LABELS, WIDTH = 26, 190, 640  # CSS pixels: height of a bar's row, width of the names, of the whole
SAID = {
    "lab_by_hand": "lab ÷ document's commands",
    "red_green": "red run ÷ green run",
    "step_alone_cluster": "cluster as a step ÷ alone",
    "prefect_share": "share of a run in which nothing of the lab is done",
    "growth_10_copies": "10 copies of Bookinfo ÷ 1",
    "nightly_300_services": "night with 300 services ÷ without",
    "lab": "lab",
    "nightly": "night",
    "first_run": "first run",
    "help": "--help",
}
# Part → writes a table of its own of what it found.
TABLES: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "lab-by-hand": lambda run: hand_table(run["steps"], run["lab_steps"]),
    "first-run": lambda run: first_run_table(run["compile"], run["path"]),
    "cluster": cluster_table,
    "growth": lambda run: growth_table(run["nights"]),
    "mesh-cost": lambda run: cost_table(run["rows"], run["published"]),
}


def text(latest: Mapping[str, Any]) -> str:
    """Write the tables: machine and date, each number with its single values, and what was not measured.

    Args:
        latest: As `record.read` gives it.
    """
    lines = ["| part | what | median | single values | machine, date |", "|---|---|---|---|---|"]
    for part, one in sorted(latest["runs"].items()):
        here = one["machine"]
        where = f"{here['processors']} cores, {here['memory_gb']} GB, load {here['load_before']} before; {one['measured'][:10]}"
        for name, values in one["values"].items():
            kind = "ratios" if name in latest["ratios"] else "seconds"
            unit = "" if kind == "ratios" else " s"
            single = ", ".join(map(number, values))
            lines.append(
                f"| {part} | {SAID[name]} | {number(latest[kind][name])}{unit} | {single} | {where} |"
            )
    for part, write in TABLES.items():
        if part in latest["runs"]:
            lines += ["", *write(latest["runs"][part])]
    missing = [part for part in PARTS.values() if part.name not in latest["runs"]]
    lines += [
        "",
        "Goals: "
        + "; ".join(f"{part.title}: {part.goal}" for part in PARTS.values() if part.goal != "told")
        + ".",
    ]
    if missing:
        lines += [
            "",
            "Not measured yet, so nothing is known of it: " + "; ".join(part.title for part in missing) + ".",
        ]
    return "\n".join(lines) + "\n"


def charts(latest: Mapping[str, Any]) -> dict[str, str]:
    """Draw what was measured as bars: the seconds of single things, and the nights while the mesh grows.

    Args:
        latest: As `record.read` gives it.

    Returns:
        File's name → the picture; what was not measured has none.
    """
    seconds = {
        SAID[name]: value for name, value in sorted(latest["seconds"].items(), key=lambda item: item[1])
    }
    grown = latest["runs"].get("growth", {}).get("nights", {})
    nights = {name: median(each["seconds"] for each in grown[name]) for name in in_order(grown)}
    drawn = {"performance.svg": _bars(seconds), "growth.svg": _bars(nights)}
    return {name: svg for name, svg in drawn.items() if svg}


def _bars(seconds: Mapping[str, float]) -> str:
    """Bars of seconds, "" where there are none."""
    if not seconds:
        return ""
    longest = max(seconds.values())
    height = ROW * len(seconds) + 8
    root = ET.Element("svg")
    for row, (name, value) in enumerate(seconds.items()):
        top = 8 + row * ROW
        add(root, "text", name, x=LABELS - 8, y=top + 13, fill="var(--ink)", font_size=12, text_anchor="end")
        wide = max(1.0, (WIDTH - LABELS - 80) * value / longest)
        add(root, "rect", None, x=LABELS, y=top, width=wide, height=ROW - 8, fill="var(--s1)")
        place = {"x": LABELS + wide + 6, "y": top + 13}
        add(root, "text", f"{number(value)} s", **place, fill="var(--ink)", font_size=12)
    alt = "Seconds: " + ", ".join(f"{name} {number(value)}" for name, value in seconds.items())
    return standalone(picture(root, alt, WIDTH, height))


def write(latest: Mapping[str, Any], page: Path = PAGE, folder: Path = PICTURES) -> None:
    """Put the tables into the page, between its two marks, and the charts beside it.

    Args:
        latest: As `record.read` gives it.
        page: The page.
        folder: Gets the charts.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    drawn = charts(latest)
    links = "".join(f"\n![{SHOWN[name]}](pictures/{name})\n" for name in drawn)
    write_atomically(page, f"{before}{BEGIN}\n{text(latest)}{links}{END}{after}")
    for name, svg in drawn.items():
        write_atomically(folder / name, svg)
