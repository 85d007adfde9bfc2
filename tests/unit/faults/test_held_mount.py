"""A mount that a file of this process keeps from going: in the ledger first, and gone with the process that held it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.local import inventory
from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import ProcessError
from meshlab.faults.held_mount import HeldMount, held_mount_of
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import layout_in


class Mounts:
    """The machine's mounts. A file system in which this process has a file open is busy, as umount(8) has it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.points: list[Path] = []
        self.runner = FakeRunner({("mount", "-t", "tmpfs"): self.mount, ("umount",): self.umount})
        monkeypatch.setattr(inventory, "host_mounts", lambda _: list(self.points))

    def mount(self, words: tuple[str, ...]) -> str:
        self.points.append(Path(words[-1]))
        return ""

    def umount(self, words: tuple[str, ...]) -> str:
        point = Path(words[1])
        held = [path for path in Path("/proc/self/fd").iterdir() if _target(path).is_relative_to(point)]
        if held:
            raise ProcessError(f"umount: {point}: target is busy.")
        self.points.remove(point)
        for path in point.iterdir():  # a tmpfs goes with what is in it
            path.unlink()
        return ""


def _target(path: Path) -> Path:
    try:
        return path.readlink()
    except OSError:  # the one that lists the folder
        return Path("/")


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> Mounts:
    return Mounts(monkeypatch)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = layout_in(tmp_path)
    found.root.mkdir(parents=True)
    return found


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), create(tmp_path / "runs", "sabotage"))


def test_a_mount_can_not_be_taken_away_until_its_file_is_closed(
    layout: Layout, mounts: Mounts, ledger: Ledger
) -> None:
    held = HeldMount(layout, mounts.runner, ledger)
    held.occupy()
    assert mounts.points == [layout.root / "sabotage"]
    with pytest.raises(ProcessError, match="busy"):
        mounts.runner.run(("umount", held.point), timeout=1)
    assert [(entry.kind, entry.name, entry.where) for entry in ledger.entries()] == [
        ("mount", str(held.point), layout.name)
    ]
    assert held.restore() == (f"mount {held.point}",)
    assert mounts.points == [] and not held.point.exists() and ledger.entries() == ()
    assert held.restore() == ()


def test_it_is_in_the_ledger_though_it_could_not_be_mounted(layout: Layout, ledger: Ledger) -> None:
    held = HeldMount(layout, FakeRunner({("mount",): 32}), ledger)
    with pytest.raises(ProcessError):
        held.occupy()
    assert len(ledger.entries()) == 1
    assert held.restore() == () and ledger.entries() == () and not held.point.exists()


def test_what_a_killed_run_had_mounted_holds_no_more_and_goes_by_the_ledger(
    layout: Layout, mounts: Mounts, ledger: Ledger
) -> None:
    killed = HeldMount(layout, mounts.runner, ledger)
    killed.occupy()
    assert killed._open is not None
    killed._open.close()  # as the kernel does when a process ends
    assert len(HeldMount(layout, mounts.runner, Ledger(ledger.path)).restore()) == 1
    assert mounts.points == [] and ledger.entries() == ()


def test_only_the_local_cluster_has_a_folder_here(tmp_path: Path, ledger: Ledger) -> None:
    machine = Machine.here({"HOME": str(tmp_path / "home")})
    assert held_mount_of(LabConfig(cluster="existing"), machine, FakeRunner(), ledger) is None
    found = held_mount_of(LabConfig(), machine, FakeRunner(), ledger)
    assert found is not None and found.point.parent == machine.state / "clusters" / "meshlab"
