"""The catch matrix, fault by check, in the forms in which it is shown: rows, and a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.report.rendering import render_text
from meshlab.report.tables import Row

CAUGHT, TOO, MISSED, EXTRA = "caught", "red too", "missed", "red, unexpected"
MARKS = {CAUGHT: "●", TOO: "○", MISSED: "✗ missed", EXTRA: "✗ unexpected", "": ""}


def cell(catch: Mapping[str, Any], check: str) -> str:
    """Say what a fault did to a check, in a word.

    Args:
        catch: What became of the fault.
        check: The check's id.

    Returns:
        The word; empty for nothing.
    """
    red = check in catch["red"]
    if check in catch["must"]:
        return CAUGHT if red else MISSED
    if red:
        return TOO if check in catch["may"] else EXTRA
    return ""


def culprit(catch: Mapping[str, Any]) -> str:
    """Say at which place the causes named the planted object; empty where the fault is no object.

    Where its history is unknown, or newer changes stand beside it, the place is told where it is another.
    """
    if "culprit_rank" not in catch:
        return ""
    place = catch["culprit_rank"]
    others = {way: each for way, each in catch.get("culprit_ranks", {}).items() if each != place}
    return "; ".join([_place(place), *(f"{way} {_place(each)}" for way, each in others.items())])


def _place(rank: int | None) -> str:
    return f"named no. {rank}" if rank else "not named"


def columns(catches: Sequence[Mapping[str, Any]]) -> list[str]:
    """The checks that some fault had to turn red, or did."""
    return sorted({check for catch in catches for key in ("must", "red") for check in catch[key]})


def rows(catches: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per fault, one column per check: for Prefect's table."""
    shown = columns(catches)
    return [
        {
            "fault": catch["fault"],
            "culprit": culprit(catch),
            "restored": "yes" if catch["restored"] else "NO",
            **{check: cell(catch, check) for check in shown},
        }
        for catch in catches
    ]


def lines(catches: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per fault, with the checks as text: for a terminal, where a matrix is too wide."""

    def those(catch: Mapping[str, Any], word: str) -> str:
        known = dict.fromkeys((*catch["must"], *catch["red"]))
        return ", ".join(check for check in known if cell(catch, check) == word)

    return [
        {
            "fault": catch["fault"],
            "caught by": those(catch, CAUGHT),
            "red with it": those(catch, TOO),
            "missed by": those(catch, MISSED),
            "red, unexpected": those(catch, EXTRA),
            "culprit": culprit(catch),
            "restored": "yes" if catch["restored"] else "NO",
        }
        for catch in catches
    ]


def page(result: Mapping[str, Any], *later: Mapping[str, Any]) -> str:
    """Write docs/sabotage.md from runs of the flow sabotage.

    Args:
        result: The `result.json` of a run of the whole catalogue.
        *later: Those of later runs, of a part of it: what they say of a fault takes the place of what was said before.

    Returns:
        The page.
    """
    caught_of: dict[str, Mapping[str, Any]] = {}
    planted: dict[str, Mapping[str, Any]] = {}
    for each in (result, *later):
        caught_of |= {catch["fault"]: catch for catch in each["catches"]}
        planted |= {check["id"]: check for check in each["checks"] if check["id"].startswith("sabotage.")}
    catches = list(caught_of.values())
    shown = columns(catches)
    return render_text(
        "sabotage.md",
        result=result,
        later=later,
        caught=sum(all(cell(catch, c) not in (MISSED, EXTRA) for c in columns([catch])) for catch in catches),
        checks=shown,
        culprit=culprit,
        catches=[(catch, [MARKS[cell(catch, check)] for check in shown]) for catch in catches],
        planted=planted,
        skipped=[check for check in planted.values() if check["verdict"] == "skipped"],
    )
