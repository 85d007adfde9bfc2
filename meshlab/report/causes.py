"""Why checks are red, as the report's first section and the summary tell it: each object once, with what it explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from meshlab.report.tables import Row


def place_of(causes: Iterable[Mapping[str, str]], name: str) -> int | None:
    """Say at which place the causes of a run name an object.

    Args:
        causes: As in `result.json`.
        name: The object, as Kind namespace/name.

    Returns:
        1 for the best; None where it is not named.
    """
    named = [row["object"] for row in cause_rows(causes)]
    return named.index(name) + 1 if name in named else None


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
