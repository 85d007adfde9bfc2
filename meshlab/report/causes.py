"""Why checks are red, as the report's first section and the summary tell it: each object once, with what it explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from meshlab.core.text import pluralize
from meshlab.report.tables import Row, grouped

Check = Mapping[str, Any]


@dataclass(frozen=True)
class Explained:
    """Red checks that one object explains best.

    Attributes:
        object: Kind namespace/name.
        why: What it does to their traffic.
        change: Who changed it last and when; "" where nobody knows.
        checks: They, in the run's order, two at least.
    """

    object: str
    why: str
    change: str
    checks: tuple[Check, ...]

    @property
    def title(self) -> str:
        """How many checks they are."""
        return pluralize(len(self.checks), "checks")

    @property
    def remedy(self) -> str:
        """What to do about the object, which takes the place of what to do about each check."""
        kind, _, name = self.object.partition(" ")
        namespace, _, name = name.rpartition("/")
        where = f"-n {namespace} " if namespace else ""  # a webhook has none
        return f"look at it (kubectl {where}get {kind.lower()} {name} -o yaml), mend it, and run again"


def arranged(checks: Iterable[Check], causes: Iterable[Mapping[str, str]]) -> list[Check | Explained]:
    """Put red checks that one object explains best under it; what one failed step took along is one row, too.

    Args:
        checks: As in `result.json`.
        causes: As in `result.json`: the best of each check first.

    Returns:
        Checks and groups of them; a group stands where the first of its checks stood.
    """
    rows = grouped(checks)
    best = best_of(causes)
    alike: dict[str, list[Check]] = {}
    for check in rows:
        if check["id"] in best:
            alike.setdefault(best[check["id"]]["object"], []).append(check)
    groups = {name: found for name, found in alike.items() if len(found) > 1}
    told: list[Check | Explained] = []
    for check in rows:
        cause = best.get(check["id"])
        if cause is None or cause["object"] not in groups:
            told.append(check)
        elif groups[cause["object"]][0] is check:
            found = tuple(groups[cause["object"]])
            told.append(Explained(cause["object"], cause["why"], cause["change"], found))
    return told


def best_of(causes: Iterable[Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Return the best cause of each check that has one."""
    best: dict[str, Mapping[str, str]] = {}
    for cause in causes:
        best.setdefault(cause["check"], cause)
    return best


def place_of(causes: Iterable[Mapping[str, str]], name: str) -> int | None:
    """Say at which place the causes of a run name an object.

    Args:
        causes: As in `result.json`.
        name: The object, as Kind namespace/name; `*` stands for any text.

    Returns:
        1 for the best; None where it is not named.
    """
    named = [row["object"] for row in cause_rows(causes)]
    return next((place for place, each in enumerate(named, 1) if fnmatchcase(each, name)), None)


def places_tried(events: Iterable[Mapping[str, Any]], name: str) -> dict[str, int | None]:
    """Say at which place an object is named in each way in which a round's causes were put to the test.

    Args:
        events: The round's journal.
        name: The object, as for `place_of`.

    Returns:
        Way → place.
    """
    ways: dict[str, list[Mapping[str, str]]] = {}
    for event in events:
        for way, causes in event.get("ways", {}).items():
            ways.setdefault(way, []).extend(causes)
    return {way: place_of(causes, name) for way, causes in ways.items()}


def cause_rows(causes: Iterable[Mapping[str, str]]) -> list[Row]:
    """List the objects that explain red checks; the one that explains most of them, and best, comes first.

    Args:
        causes: As in `result.json`: the best of each check first.

    Returns:
        One row an object.
    """
    places: dict[str, list[int]] = defaultdict(list)
    rows: dict[str, Row] = {}
    seen: dict[str, int] = defaultdict(int)
    for cause in causes:
        place = seen[cause["check"]]
        seen[cause["check"]] += 1
        places[cause["object"]].append(place)
        row = rows.setdefault(
            cause["object"],
            {"object": cause["object"], "why": cause["why"], "changed": cause["change"], "red checks": ""},
        )
        row["red checks"] = ", ".join(filter(None, (row["red checks"], cause["check"])))

    def rank(name: str) -> tuple[int, float]:
        return (-places[name].count(0), sum(places[name]) / len(places[name]))

    return [rows[name] for name in sorted(rows, key=rank)]
