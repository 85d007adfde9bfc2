"""kill -9, and then something else happens too: a label removed, an adoption, a refused token, a quota, a missing zone.

The plain table is tests/emulated/test_killed.py. `pytest -m long tests/emulated` makes every boundary; `-s` prints the table.
"""

# ruff: noqa: F401, F811 - fixtures are imported, and their names are parameters

import signal
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from meshlab.config.settings import Machine
from meshlab.lifecycle import teardown as reaping
from meshlab.run.ledger import ledgers
from tests.emulated.test_killed import RUN, config, emulator, inside, live
from tests.emulated.variants import (
    NOTHING,
    OTHER,
    REMOVED,
    VARIANTS,
    Variant,
    clean_up,
    count,
    later,
)
from tests.fakes.gke.emulator import Emulator

TOLD = "left and told, exit 1"  # by the reaper: without labels it does not know the age
# Variant → what may become of a run's cluster, by a teardown on its machine, and by a reaper elsewhere.
RIGHT: dict[str, tuple[str, str]] = {
    "label removed": (REMOVED, TOLD),
    "adopted by another run": (f"left to run {OTHER}", f"left to run {OTHER}"),
    "401 once, each call": (REMOVED, REMOVED),
    "quota refused by 403": (NOTHING, NOTHING),
    "its zone missing": (REMOVED, "not seen, exit 3: no answer for us-central1-b"),
}
ONE = "load balancer made"  # a boundary at which the cluster is there


def outcome(
    emulator: Emulator, tmp_path: Path, variant: Variant, number: int, way: str
) -> tuple[int, str] | None:
    """What the kill left, and how the clean-up ended; None where the run ends before that boundary."""
    home = tmp_path / f"{variant.name}-{way}-{number}"
    if live(emulator, home, number, faults=variant.faults()) != -signal.SIGKILL:
        return None
    variant.after(emulator.books)
    left = count(emulator.books)
    settings = config(emulator)
    if way == "teardown":
        machine = Machine.here({"HOME": str(home)})
        said = clean_up(emulator.books, lambda: reaping.of_runs(settings, machine, [RUN]), machine)
        reaping.put_back(settings, machine, RUN)
        owed = [entry.name for ledger in ledgers(machine) for entry in ledger.entries()]
        assert owed == [] or count(emulator.books), "what is gone is struck"
    else:
        machine = Machine.here({"HOME": str(tmp_path / "elsewhere")})
        search = lambda: reaping.expired(settings, machine, now=later())  # noqa: E731
        said = clean_up(emulator.books, search, machine)
        if emulator.books.missing_zones:
            emulator.books.missing_zones = ()
            assert clean_up(emulator.books, search, machine) in (REMOVED, NOTHING), "once the zone answers"
    return left, said


def boundaries(emulator: Emulator, tmp_path: Path) -> list[str]:
    report = tmp_path / "boundaries"
    assert live(emulator, tmp_path / "whole", 0, report) == 0
    return report.read_text().splitlines()


def judge(variant: Variant, way: str, found: tuple[int, str]) -> None:
    left, said = found
    right = RIGHT[variant.name][way == "reaper"]
    leftover_only = left and not said.startswith(right)
    allowed = (right, REMOVED if left else NOTHING)
    assert said.startswith(allowed), (variant.name, way, left, said, leftover_only)
    assert not said.startswith("refused"), (variant.name, way, said)


@pytest.mark.parametrize("way", ["teardown", "reaper"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
def test_a_run_killed_in_the_middle_and_more(
    emulator: Emulator, tmp_path: Path, variant: Variant, way: str
) -> None:
    names = boundaries(emulator, tmp_path)
    wanted = "before CreateCluster" if variant.before else ONE
    found = outcome(emulator, tmp_path, variant, names.index(wanted) + 1, way)
    assert found is not None
    assert found[1].startswith(RIGHT[variant.name][way == "reaper"]), found
    assert (found[0] > 0) == (not variant.before), "the control: the kill left something"


@pytest.mark.long
def test_every_boundary_and_more(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = boundaries(emulator, tmp_path)
    rows = []
    for variant in VARIANTS:
        for number, name in enumerate(names, 1):
            ways = {way: outcome(emulator, tmp_path, variant, number, way) for way in ("teardown", "reaper")}
            found = {way: each for way, each in ways.items() if each is not None}
            for way, each in found.items():
                judge(variant, way, each)
            if found:
                rows.append((variant.name, name, *(each for pair in found.values() for each in pair)))
    with capsys.disabled():
        print(
            f"\n{'what else':24} {'killed at':34} {'left':>4}  {'teardown':36} {'left':>4}  reaper elsewhere"
        )
        for what, name, left, said, other_left, other_said in rows:
            print(f"{what:24} {name:34} {left:4}  {said[:36]:36} {other_left:4}  {other_said}")
    assert len(rows) > 4 * 20
    for variant in VARIANTS:
        made = [row for row in rows if row[0] == variant.name and row[2]]
        assert bool(made) == (not variant.before), "the control: kills do leave things"
