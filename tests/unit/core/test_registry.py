"""One instance per run and class."""

from __future__ import annotations

import threading

from meshlab.core import registry


class Counter:
    made = 0

    def __init__(self) -> None:
        Counter.made += 1


def test_each_run_has_its_own_and_every_caller_the_same() -> None:
    one = registry.instance(Counter, "one")
    assert registry.instance(Counter, "one") is one is registry.find(Counter, "one")
    assert registry.instance(Counter, "two") is not one and registry.find(Counter) is None


def test_callers_at_the_same_time_make_one() -> None:
    before, seen = Counter.made, set()
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        seen.add(id(registry.instance(Counter, "many")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1 and Counter.made == before + 1


def test_what_is_taken_is_held_no_longer() -> None:
    registry.put("launch", "run")
    assert registry.take(str, "run") == "launch" and registry.take(str, "run") is None
