"""What differs between two runs, and which checks change their minds most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshlab.causes.snapshot import Change, changes, load
from meshlab.history.records import EDGES, EdgeRow, FindingRow, RunRecord


@dataclass(frozen=True)
class Difference:
    """From one run to a later one. Empty tuples: nothing of the kind changed.

    checks: (id, verdict before, verdict after), "" where it was not made. versions: (name, before, after), "" where
    a run broke off before it saw one. edges_known: both runs counted the graph's edges; else none is compared.
    Findings are compared of those checks only that both made.
    measures: (name with labels, unit, before, after) of those that both have and that moved by a tenth or more.
    """

    before: str
    after: str
    checks: tuple[tuple[str, str, str], ...] = ()
    edges_gained: tuple[EdgeRow, ...] = ()
    edges_lost: tuple[EdgeRow, ...] = ()
    versions: tuple[tuple[str, str, str], ...] = ()
    findings_new: tuple[FindingRow, ...] = ()
    findings_gone: tuple[FindingRow, ...] = ()
    measures: tuple[tuple[str, str, float, float], ...] = ()
    edges_known: bool = True


MOVED = 0.1  # relative change of a measure from which on it is told


def difference(before: RunRecord, after: RunRecord) -> Difference:
    """Say what changed from one run to a later one.

    Args:
        before: The earlier run.
        after: The later run.

    Returns:
        What differs.
    """
    verdicts = [{check.check_id: check.verdict for check in run.checks} for run in (before, after)]
    made = _made(before) & _made(after)
    found = [
        {(each.check_id, each.code, each.resource): each for each in run.findings if each.check_id in made}
        for run in (before, after)
    ]
    edges = [{*run.edges} if EDGES in made else set() for run in (before, after)]
    values = [{measure.key: measure for measure in run.measures} for run in (before, after)]
    moved = []
    for key, now in values[1].items():
        then = values[0].get(key)
        if then is not None and abs(now.value - then.value) > MOVED * abs(then.value):
            moved.append((key, now.unit, then.value, now.value))
    return Difference(
        before.run_id,
        after.run_id,
        checks=_changes(*verdicts),
        edges_gained=tuple(sorted(edges[1] - edges[0])),
        edges_lost=tuple(sorted(edges[0] - edges[1])),
        versions=_changes(dict(before.versions), dict(after.versions)),
        findings_new=tuple(finding for key, finding in found[1].items() if key not in found[0]),
        findings_gone=tuple(finding for key, finding in found[0].items() if key not in found[1]),
        measures=tuple(moved),
        edges_known=EDGES in made,
    )


def configuration_changes(before: RunRecord, after: RunRecord) -> tuple[Change, ...] | None:
    """Say which objects of the mesh's configuration differ, from what the two runs kept in their directories.

    Args:
        before: The earlier run.
        after: The later run.

    Returns:
        The differences; None where the two have nothing to compare: a directory is gone, or a run broke off before.
    """
    kept = [load(Path(run.directory)) if run.directory else {} for run in (before, after)]
    return changes(*kept)


def last_green(runs: Sequence[RunRecord], run: RunRecord) -> RunRecord | None:
    """The newest run before `run` that passed. runs: of the same flow and cluster, in order of time."""
    earlier = [each for each in runs if each.started < run.started and each.verdict == "pass"]
    return earlier[-1] if earlier else None


@dataclass(frozen=True)
class Flakiness:
    """How often a check changed between pass and anything else. runs: in how many it was made."""

    check_id: str
    flips: int
    runs: int
    verdicts: tuple[tuple[str, int], ...]
    last_flip: str = ""


def flakiest(runs: Sequence[RunRecord]) -> list[Flakiness]:
    """Checks that changed their minds, the flakiest first. runs: in order of time.

    Skips count as not made, and so does what could not be made in a run one of whose steps failed: a night that broke
    off says nothing about any check.

    Runs of different flows or clusters are compared only with their like.
    """
    last: dict[tuple[str, ...], str] = {}
    flips: Counter[str] = Counter()
    made: Counter[str] = Counter()
    verdicts: dict[str, Counter[str]] = {}
    when: dict[str, str] = {}
    for run in runs:
        broke = any(step.state == "failed" for step in run.steps)
        for check in run.checks:
            if check.verdict == "skipped" or (broke and check.verdict == "infra-error"):
                continue
            made[check.check_id] += 1
            verdicts.setdefault(check.check_id, Counter())[check.verdict] += 1
            series = (check.check_id, run.flow, run.provider, run.cluster)
            before, last[series] = last.get(series), check.verdict
            if before is not None and (before == "pass") != (check.verdict == "pass"):
                flips[check.check_id] += 1
                when[check.check_id] = run.run_id
    return [
        Flakiness(name, count, made[name], tuple(verdicts[name].most_common()), when[name])
        for name, count in sorted(flips.items(), key=lambda each: (-each[1], each[0]))
    ]


def _changes(before: dict[str, str], after: dict[str, str]) -> tuple[tuple[str, str, str], ...]:
    names = list(dict.fromkeys([*before, *after]))
    return tuple(
        (name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name) != after.get(name)
    )


def _made(run: RunRecord) -> set[str]:
    """Checks that came to an answer about the mesh."""
    return {check.check_id for check in run.checks if check.verdict in ("pass", "fail")}
