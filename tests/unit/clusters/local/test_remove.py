from __future__ import annotations

import signal
from pathlib import Path

import pytest

from meshlab.clusters.local import cell, inventory, network
from meshlab.clusters.local import remove as remove_module
from meshlab.clusters.local.cgroups import Hierarchies
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.remove import remove
from meshlab.clusters.local.state import Record
from meshlab.core.errors import ProcessError, WaitTimeout
from meshlab.core.progress import silent
from tests.fakes.clock import FakeClock
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import layout_in, netns_in

NONE = Hierarchies((), False)


class Kernel:
    """Processes that end by signals. deaf: those that only SIGKILL ends; undead: those that nothing ends."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *pids: int,
        deaf: tuple[int, ...] = (),
        undead: tuple[int, ...] = (),
    ) -> None:
        self.pids, self.deaf, self.undead = set(pids), deaf, undead
        self.signals: list[tuple[int, str]] = []
        monkeypatch.setattr(inventory, "processes", lambda *_: frozenset(self.pids))
        monkeypatch.setattr(inventory, "describe", lambda pid: f"program {pid}")
        monkeypatch.setattr(cell, "first_process", lambda _: 1 if 1 in self.pids else None)
        monkeypatch.setattr(cell, "end", self.end)

    def end(self, pid: int, signum: signal.Signals) -> None:
        self.signals.append((pid, signum.name))
        if pid in self.undead or (pid in self.deaf and signum != signal.SIGKILL):
            return
        self.pids -= {pid} if pid != 1 else self.pids - set(self.undead)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    names = netns_in(tmp_path, monkeypatch)
    monkeypatch.setattr(remove_module, "NETNS_DIR", names)
    monkeypatch.setattr(inventory, "host_mounts", lambda _: [])
    monkeypatch.setattr(network, "links", lambda: frozenset({"lo"}))
    return layout_in(tmp_path)


def _record(layout: Layout, *, made: bool = False) -> Record:
    return Record("k", 3, "10.250", layout.namespaces, layout.host_link, layout.cgroup, made_netns_dir=made)


def test_without_a_cluster_nothing_is_run(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    remove(layout, None, NONE, FakeRunner(), progress=silent)
    assert kernel.signals == []


def test_the_supervisor_is_asked_and_takes_everything_along(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(monkeypatch, 1, 2, 3)
    remove(layout, _record(layout), NONE, FakeRunner(), progress=silent, clock=FakeClock())
    assert kernel.signals == [(1, "SIGTERM")]


def test_without_a_supervisor_what_is_left_is_killed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, 2, 3)
    remove(layout, _record(layout), NONE, FakeRunner(), progress=silent, clock=FakeClock())
    assert sorted(kernel.signals) == [(2, "SIGKILL"), (3, "SIGKILL")]


def test_a_deaf_supervisor_is_killed_in_the_end(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, 1, 2, deaf=(1,))
    remove(layout, _record(layout), NONE, FakeRunner(), progress=silent, clock=FakeClock())
    assert kernel.signals[0] == (1, "SIGTERM") and (1, "SIGKILL") in kernel.signals


def test_what_can_not_go_is_named_and_the_record_stays(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kernel(monkeypatch, 2, undead=(2,))
    layout.root.mkdir(parents=True)
    (layout.root / "record.json").write_text("{}")
    with pytest.raises(WaitTimeout, match="2 program 2"):
        remove(layout, _record(layout), NONE, FakeRunner(), progress=silent, clock=FakeClock())
    assert (layout.root / "record.json").exists()


def test_folder_namespaces_and_an_emptied_netns_folder_go(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kernel(monkeypatch)
    (layout.root / "node1" / "deep").mkdir(parents=True)
    (layout.root / "record.json").write_text("{}")
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "unit-hub").touch()
    remove(layout, _record(layout, made=True), NONE, FakeRunner(), progress=silent)
    assert not layout.root.exists() and not (tmp_path / "netns").exists()


def test_mounts_go_deepest_first_and_before_files(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch)
    layout.root.mkdir(parents=True)
    points = [layout.root / "a" / "b", layout.root / "a"]
    monkeypatch.setattr(inventory, "host_mounts", lambda _: points)
    runner = FakeRunner({("umount",): ""})
    remove(layout, None, NONE, runner, progress=silent)
    assert runner.commands == [("umount", str(point)) for point in points]
    layout.root.mkdir(parents=True)
    with pytest.raises(ProcessError):
        remove(layout, None, NONE, FakeRunner({("umount",): 32}), progress=silent)
    assert layout.root.exists(), "nothing is deleted below a mount"
