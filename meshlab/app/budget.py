"""The error budget of traffic that flows while something is changed: how much of it may fail, and how much has.

Requests of a run that was killed and went on count, too: each life of the run is a part of its own, since nobody sent
anything between two of them.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from meshlab.app.loop import Request

GOOD = "200"  # the status of a request that was answered
COLUMNS = ("life", "started", "status", "ms", "curl_exit")


@dataclass(frozen=True)
class Budget:
    """What may fail.

    failed_share: of all requests, 0.001 is 0.1 %. in_a_row: failures one after the other. settled_after: requests from
    which on the share is judged while traffic still flows: before that a single failure would be more than it.
    """

    failed_share: float = 0.001
    in_a_row: int = 3
    settled_after: int = 1000


@dataclass(frozen=True)
class Spent:
    """What was sent, and what of it failed.

    failed_in_a_row: the longest row of failures. gap_ms: the longest time without a good answer, in milliseconds; None
    without a good one. by_status: HTTP status → requests, "000" for those without an answer. lives: parts of the run
    in which something was sent.
    """

    requests: int
    failed: int
    failed_in_a_row: int
    gap_ms: float | None
    by_status: Mapping[str, int]
    lives: int = 1

    @property
    def share(self) -> float:
        """The share of requests that failed; 0 without requests."""
        return self.failed / self.requests if self.requests else 0.0

    def __str__(self) -> str:
        gap = "no good answer" if self.gap_ms is None else f"longest gap {self.gap_ms:.0f} ms"
        return f"{self.requests} requests, {self.failed} failed ({self.share:.2%}), {gap}"


def spend(lives: Iterable[Sequence[Request]]) -> Spent:
    """Count what was sent and what failed.

    Args:
        lives: The requests of each life of the run, in any order.

    Returns:
        The counts. The gap is the longest time from one good answer to the next, from the first request to the first
        good answer, or from the last good answer to the last request's end.
    """
    statuses: Counter[str] = Counter()
    longest_row, gap, parts = 0, None, 0
    for life in lives:
        answered = sorted((each.ended, each) for each in life)
        if not answered:
            continue
        parts += 1
        statuses.update(each.status for each in life)
        row = 0
        for _, each in answered:
            row = 0 if each.status == GOOD else row + 1
            longest_row = max(longest_row, row)
        good = [end for end, each in answered if each.status == GOOD]
        if good:
            moments = [min(each.started for each in life), *good, answered[-1][0]]
            longest = max((later - earlier for earlier, later in pairwise(moments)), default=timedelta())
            gap = max(gap or 0.0, longest / timedelta(milliseconds=1))
    failed = statuses.total() - statuses[GOOD]
    return Spent(statuses.total(), failed, longest_row, gap, dict(statuses), parts)


def overspent(spent: Spent, budget: Budget, *, ended: bool) -> tuple[str, ...]:
    """Tell in what the budget is broken.

    Args:
        spent: What was sent so far.
        budget: What may fail.
        ended: Nothing is sent any more, so the share is judged however little was sent.

    Returns:
        Sentences; empty while the budget holds.
    """
    found = []
    if spent.failed_in_a_row > budget.in_a_row:
        found.append(f"{spent.failed_in_a_row} requests failed one after the other, {budget.in_a_row} may")
    judged = spent.requests if ended else max(spent.requests, budget.settled_after)
    if spent.failed > budget.failed_share * judged:
        found.append(f"{spent.failed} of {spent.requests} requests failed, {budget.failed_share:.2%} may")
    return tuple(found)


class RequestBook:
    """The requests on disk, as they come: what a killed run had sent is read again by the one that goes on.

    path: the CSV file; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.earlier = _read(path)
        self._life = max(self.earlier, default=0) + 1
        self._now: list[Request] = []

    def add(self, requests: Sequence[Request]) -> None:
        """Write further requests of this life down."""
        if not requests:
            return
        self._now += requests
        new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as sink:
            rows = csv.writer(sink)
            if new:
                rows.writerow(COLUMNS)
            rows.writerows(
                (self._life, each.started.isoformat(), each.status, f"{each.ms:.2f}", each.exit_code)
                for each in requests
            )

    def spent(self) -> Spent:
        """Count the requests of all lives."""
        return spend([*self.earlier.values(), self._now])


def spent_on_disk(path: Path) -> Spent:
    """Count the requests in a book that somebody else may be writing to; the file stays as it is.

    Args:
        path: The CSV file.

    Returns:
        The counts of all lives; zeros where there is no file.
    """
    whole = _whole_lines(path.read_text(encoding="utf-8")) if path.is_file() else ""
    return spend(_parse(whole).values())


def _read(path: Path) -> dict[int, list[Request]]:
    """The lives that a file tells of. A last line that was cut off is no request."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = _whole_lines(text)
    if whole != text:  # else the next line would be joined to it
        path.write_text(whole, encoding="utf-8")
    return _parse(whole)


def _whole_lines(text: str) -> str:
    return text[: text.rfind("\n") + 1]


def _parse(whole: str) -> dict[int, list[Request]]:
    found: dict[int, list[Request]] = {}
    for number, row in enumerate(csv.DictReader(whole.splitlines()), 1):
        request = Request(
            number, row["status"], float(row["ms"]), datetime.fromisoformat(row["started"]), int(row["curl_exit"])
        )  # fmt: skip
        found.setdefault(int(row["life"]), []).append(request)
    return found
