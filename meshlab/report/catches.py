"""The catch matrix, fault by check, in the forms in which it is shown: rows, and a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.core.text import pluralize
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


def columns(catches: Sequence[Mapping[str, Any]]) -> list[str]:
    """The checks that some fault had to turn red, or did."""
    return sorted({check for catch in catches for key in ("must", "red") for check in catch[key]})


def rows(catches: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per fault, one column per check: for Prefect's table."""
    shown = columns(catches)
    return [
        {
            "fault": catch["fault"],
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
            "restored": "yes" if catch["restored"] else "NO",
        }
        for catch in catches
    ]


def page(result: Mapping[str, Any]) -> str:
    """docs/sabotage.md, from the `result.json` of a run of the flow sabotage."""
    catches = result["catches"]
    titles = {check["id"]: check["title"] for check in result["checks"]}
    seconds = {check["id"]: check["seconds"] for check in result["checks"]}
    caught = sum(all(cell(catch, c) not in (MISSED, EXTRA) for c in columns([catch])) for catch in catches)
    shown = columns(catches)
    cluster = result["cluster"]
    text = [
        "# Planted faults, and the checks that catch them",
        "",
        "A check that can't fail proves nothing. `make sabotage` brings up a lab, breaks one thing at a time, makes the",
        "checks again, and asks that exactly those turn red that the fault declared beforehand: a miss fails the run, and",
        "so does a red check that was not declared. Each fault is in the ledger before it is planted and is taken out",
        "again, even when the run was killed. What a fault may change is compared before and after: every object of the kinds",
        "of Istio's configuration, Deployments, Services, service accounts, ConfigMaps, Secrets, namespaces and network",
        "policies, and the pods' labels and annotations (`meshlab/kube/fingerprint.py` has the list).",
        "",
        f"This page is made from a run (`make sabotage-page`): {result['started'][:10]}, {cluster['provider']} cluster of "
        f"{pluralize(cluster['nodes'], 'nodes')}, distribution {result['distribution']}: "
        f"**{caught} of {len(catches)} faults caught**.",
        "",
        "● turned red, as it must · ○ turned red with it, as it may · ✗ is a finding",
        "",
        "| fault | " + " | ".join(shown) + " | restored |",
        "|---|" + ":-:|" * (len(shown) + 1),
    ]
    for catch in catches:
        cells = [MARKS[cell(catch, check)] for check in shown]
        restored = "yes" if catch["restored"] else "**no**"
        text.append(f"| {catch['fault']} | " + " | ".join(cells) + f" | {restored} |")
    text += ["", "| fault | what is planted | seconds |", "|---|---|---|"]
    for catch in catches:
        check_id = f"sabotage.{catch['fault']}"
        text.append(f"| {catch['fault']} | {titles.get(check_id, '')} | {seconds.get(check_id, 0):.0f} |")
    skipped = [
        check
        for check in result["checks"]
        if check["verdict"] == "skipped" and check["id"].startswith("sabotage.")
    ]
    if skipped:
        text += ["", "Not planted in that run:", ""]
        text += [f"- {check['id'].removeprefix('sabotage.')}: {check['reason']}" for check in skipped]
    text += [
        "",
        '`make sabotage ARGS="--only FAULT"` plants one alone (several times for several); a lab that is up',
        "(`make lab ARGS=--keep`) is used and left as it was. A new fault is one entry in `meshlab/faults/faults.py`, with the",
        "checks that must and that may turn red; why it is done so is in",
        "[docs/decisions](decisions/2026-11-23-faults-by-way-of-the-ledger.md).",
    ]
    return "\n".join([*text, ""])
