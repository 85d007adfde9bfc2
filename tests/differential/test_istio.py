"""100,000 cases, with configuration that is made now by the Istio of the pins."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from meshlab.config.settings import Machine
from tests.differential import generate, worlds

WORLDS, CASES = 2000, 50
FIRST = 10_000  # seeds that the kept worlds do not have


def _differ(numbered: tuple[int, generate.Pair]) -> tuple[int, list[str]]:
    seed, (world, config) = numbered
    unknown, found = 0, []
    mesh = worlds.mesh_of(world)
    for case in worlds.requests(seed, CASES):
        ours, theirs = worlds.ours(world, mesh, case), worlds.expected(world, config, case)
        unknown += ours == "unknown"
        if ours not in (theirs, "unknown"):
            found.append(f"world {seed}: ours {ours}, Istio's {theirs}: {case}")
    return unknown, found


@pytest.mark.long
def test_no_case_of_a_hundred_thousand_differs() -> None:
    seeds = range(FIRST, FIRST + WORLDS)
    pairs = generate.configured(generate.compiled(Machine.here()), [worlds.world(seed) for seed in seeds])
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(_differ, zip(seeds, pairs, strict=True), chunksize=50))
    assert [line for _, lines in found for line in lines] == []
    assert sum(unknown for unknown, _ in found) < WORLDS * CASES / 100


@pytest.mark.long
def test_what_is_kept_for_the_unit_tests_is_what_istio_makes_now() -> None:
    found = [world for world, _ in generate.kept()]
    assert found == [worlds.world(seed) for seed in range(generate.WORLDS)]
    assert generate.configured(generate.compiled(Machine.here()), found) == generate.kept()
