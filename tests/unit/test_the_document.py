"""Everything that the document asks for is answered, in its order: by a step, a check, and a place where to look."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshlab.checks.base import CATALOG
from meshlab.report import authz, mtls

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "the-document.md").read_text(encoding="utf-8")
ASKED: Sequence[Mapping[str, Any]] = yaml.safe_load((HERE / "the-document.yaml").read_text(encoding="utf-8"))
SOURCE = (HERE.parents[1] / "meshlab" / "report" / "sections.py").read_text(encoding="utf-8")
TITLES = re.findall(r'Section\(\s*"[a-z]+",\s*"([^"]+)"', SOURCE)
# What runs have shown: of one that was kept, for the links.
RECORDS = [
    json.loads((HERE.parent / "golden" / "records" / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("full-lab", "full-lab-kept")
]


@dataclass(frozen=True)
class Answer:
    """One row of the page."""

    section: str
    asked: str
    steps: tuple[str, ...]
    checks: tuple[str, ...]
    places: tuple[str, ...]


def answers(page: str) -> Iterator[Answer]:
    section = ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith(("| the document ", "|---")):
            asked, steps, checks, places = (
                each.strip().replace(r"\|", "|") for each in re.split(r"(?<!\\)\|", line)[1:-1]
            )
            found = [tuple(re.findall(r"`([^`]+)`", each)) for each in (steps, checks)]
            yield Answer(section, asked.strip("`"), *found, tuple(filter(None, places.split("; "))))


def asked_for() -> list[tuple[str, str]]:
    return [
        (part["section"], f"picture: {text}" if kind == "picture" else text)
        for part in ASKED
        for each in part["asks"]
        for kind, text in each.items()
    ]


def wrong(page: str) -> list[str]:
    """What the page leaves open, or answers with something that no run has."""
    rows = [*answers(page)]
    found = [
        f"not answered: {each}" for each in asked_for() if each not in {(r.section, r.asked) for r in rows}
    ]
    steps = {name for record in RECORDS for name in record["steps"]}
    artifacts = {name.split()[0] for record in RECORDS for name in record["artifacts"]}
    places = {*TITLES, authz.TITLE, mtls.TITLE, *(f"artifact `{key}`" for key in artifacts)}
    for row in rows:
        found += [f"{row.asked}: step {each}" for each in row.steps if each not in steps]
        found += [f"{row.asked}: check {each}" for each in row.checks if each not in CATALOG]
        found += [
            f"{row.asked}: {each}"
            for each in row.places
            if each not in places and not each.startswith("[page](")
        ]
        found += [f"{row.asked}: no step"] * (not row.steps) + [f"{row.asked}: no check"] * (not row.checks)
        found += [f"{row.asked}: nothing to look at"] * (row.asked.startswith("picture: ") and not row.places)
    return found


def test_the_page_answers_all_that_the_document_asks_for_in_its_order() -> None:
    assert wrong(PAGE) == []
    assert [(row.section, row.asked) for row in answers(PAGE)] == asked_for()
    kinds = [kind for part in ASKED for each in part["asks"] for kind in each]
    assert [kinds.count(kind) for kind in ("command", "picture")] == [43, 16]


def test_a_gap_and_an_answer_that_no_run_has_are_found() -> None:
    """The control."""
    row = next(line for line in PAGE.splitlines() if "`kubectl version`" in line)
    assert "not answered" in wrong(PAGE.replace(row + "\n", ""))[0]
    for there, instead in (("`check-cluster`", "`check-nothing`"), ("`cluster.version`", "`cluster.nothing`"),
                           ("Versions and images", "Nothing"), ("`cluster.version`", "")):  # fmt: skip
        assert len(wrong(PAGE.replace(row, row.replace(there, instead)))) == 1, instead
