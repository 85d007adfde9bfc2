"""kill -9 at every boundary of a run on GKE: one teardown, or one pass of the reaper elsewhere, leaves nothing.

Half a minute of processes that end themselves, so it is no unit test; the three boundaries with a real cluster are
tests/live/test_gke.py.
"""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.progress import silent
from meshlab.lifecycle import teardown as reaping
from meshlab.run.ledger import ledgers
from tests.fakes.gke import lifecycle
from tests.fakes.gke.books import Books, Fault
from tests.fakes.gke.emulator import Emulator, running

RUN = "20260101t000000z-aaaa"
# Children are forked from a process that has imported everything and has no gRPC threads.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.fakes.gke.lifecycle"])


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with running(Books()) as found:
        yield found


@pytest.fixture(autouse=True)
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The teardown meets the same emulated inside of the cluster as the run."""
    monkeypatch.setattr("meshlab.clusters.gke.cluster.seams_of", lifecycle.seams)


def live(
    emulator: Emulator, home: Path, kill_at: int, report: Path | None = None, faults: Iterable[Fault] = ()
) -> int | None:
    """A run in a process of its own; returns how it ended."""
    emulator.books.__init__()  # type: ignore[misc]
    emulator.books.faults += faults
    settings: dict[str, Any] = emulator.settings(nodes=1).model_dump(mode="json", exclude_defaults=True)
    child = FORKS.Process(
        target=lifecycle.live, args=(settings, str(home), RUN, kill_at, str(report) if report else None)
    )
    child.start()
    child.join(30)
    return child.exitcode


def config(emulator: Emulator) -> LabConfig:
    return LabConfig(cluster="gke", gke=emulator.settings(nodes=1))


def teardown(emulator: Emulator, machine: Machine) -> None:
    """What `python -m flows.teardown --run` does, on the machine of the killed run."""
    for target in reaping.of_runs(config(emulator), machine, [RUN]).targets:
        reaping.remove(target, machine, silent)
    reaping.put_back(config(emulator), machine, RUN)


def reap(emulator: Emulator, machine: Machine) -> None:
    """What `python -m flows.teardown --expired --yes` does a day later, on a machine that has no ledger of the run."""
    later = datetime.now(UTC) + timedelta(days=1)
    for target in reaping.expired(config(emulator), machine, now=later).targets:
        reaping.remove(target, machine, silent)


def test_nothing_is_left_wherever_a_run_is_killed(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "boundaries"
    assert live(emulator, tmp_path / "whole", 0, report) == 0
    names = report.read_text().splitlines()
    assert emulator.books.left() == {}, "the control: a run that nobody kills leaves nothing"
    rows, left_by_kill = [], 0
    for number, name in enumerate(names, 1):
        cells = []
        for way in (teardown, reap):
            home = tmp_path / f"{way.__name__}-{number}"
            assert live(emulator, home, number) == -signal.SIGKILL, name
            cells.append(count(emulator))
            left_by_kill += cells[-1]
            way(emulator, Machine.here({"HOME": str(home if way is teardown else tmp_path / "elsewhere")}))
            cells.append(count(emulator))
            if way is teardown:
                cells.append(
                    sum(len(ledger.entries()) for ledger in ledgers(Machine.here({"HOME": str(home)})))
                )
        rows.append((name, *cells))
    with capsys.disabled():
        head = (
            "left by the kill",
            "after the teardown",
            "entries in ledgers",
            "left by the kill",
            "after the reaper",
        )
        print(f"\n{'killed at':38}" + "".join(f"{text:>20}" for text in head))
        for name, *cells in rows:
            print(f"{name:38}" + "".join(f"{cell:20}" for cell in cells))
    assert len(rows) > 20
    assert left_by_kill > 0, "the control: kills do leave things"
    assert [row for row in rows if row[2] or row[3] or row[5]] == []


def count(emulator: Emulator) -> int:
    return sum(map(len, emulator.books.left().values()))
