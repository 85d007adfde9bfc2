from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshlab.clusters.local import inventory, network
from meshlab.clusters.local.cgroups import Hierarchies
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.state import Record
from tests.unit.clusters.local.cluster_fixtures import layout_in, netns_in

MOUNT = "{id} 1 0:1 / {point} rw - tmpfs tmpfs rw\n"


class Proc:
    """A made-up /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.add("self", [])

    def add(
        self, pid: str, argv: list[str], *, net: int = 1, mnt: int = 1, points: tuple[str, ...] = ()
    ) -> None:
        home = self.folder / pid
        (home / "ns").mkdir(parents=True, exist_ok=True)
        (home / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
        for kind, inode in (("net", net), ("mnt", mnt)):
            (home / "ns" / kind).unlink(missing_ok=True)
            (home / "ns" / kind).symlink_to(f"{kind}:[{inode}]")
        (home / "mountinfo").write_text("".join(MOUNT.format(id=i, point=p) for i, p in enumerate(points)))


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    monkeypatch.setattr(inventory, "PROC", tmp_path / "proc")
    names = netns_in(tmp_path, monkeypatch)
    monkeypatch.setattr(inventory, "NETNS_DIR", names)
    monkeypatch.setattr(network, "links", lambda: frozenset({"lo", "eth0"}))
    return Proc(tmp_path / "proc")


def _record(layout: Layout) -> Record:
    return Record("k", 3, "10.250", layout.namespaces, layout.host_link, layout.cgroup)


def test_nothing_is_nothing(proc: Proc, tmp_path: Path) -> None:
    found = inventory.take(layout_in(tmp_path), None, Hierarchies((), False))
    assert len(found) == 0
    assert set(found.counts()) == {"processes", "mounts", "namespaces", "links", "cgroups", "folders"}


def test_processes_are_found_by_cgroup_namespace_and_plan(proc: Proc, tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    names = tmp_path / "netns"
    names.mkdir()
    (names / "unit-node1").touch()
    inode = (names / "unit-node1").stat().st_ino
    (tmp_path / "cpu" / layout.cgroup / "system").mkdir(parents=True)
    (tmp_path / "cpu" / layout.cgroup / "system" / "cgroup.procs").write_text("11\n")
    proc.add("11", ["etcd"])
    proc.add("12", ["curl", "x"], net=inode)
    proc.add("13", ["unshare", "python", str(layout.plan)])
    proc.add("14", ["less", str(layout.logs / "etcd.log")])
    proc.add("15", ["bash"])
    found = inventory.processes(layout, _record(layout), Hierarchies((tmp_path / "cpu",), False))
    assert found == {11, 12, 13}
    assert inventory.launched(layout) == 13 == inventory.launched(layout, 15)
    assert os.getpid() not in found


def test_mounts_of_the_cell_are_told_from_this_machines(proc: Proc, tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    inside = str(layout.root / "node1" / "run" / "shm")
    proc.add("self", [], points=("/", str(layout.root / "x"), str(layout.root / "x" / "deep\\040one")))
    proc.add("11", ["supervisor"], mnt=2, points=("/", inside, "/proc"))
    assert inventory.mounts(layout, frozenset({11, 99})) == (
        f"{inside} (in the cell)",
        str(layout.root / "x"),
        str(layout.root / "x" / "deep one"),
    )
    assert inventory.host_mounts(layout)[0].name == "deep one", "deepest first"


def test_leftovers_are_seen_by_name_without_a_record(
    proc: Proc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_in(tmp_path)
    (tmp_path / "netns").mkdir()
    for name in ("unit-hub", "stranger"):
        (tmp_path / "netns" / name).touch()
    monkeypatch.setattr(network, "links", lambda: frozenset({"unit-h0", "lo"}))
    layout.root.mkdir(parents=True)
    found = inventory.take(layout, None, Hierarchies((), False)).items
    assert found["namespaces"] == ("unit-hub",) and found["links"] == ("unit-h0",)
    assert found["folders"] == (str(layout.root),)


def test_a_process_is_told_with_its_state_and_where_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_bytes(b"etcd\0--name=x\0")
    (tmp_path / "7" / "stat").write_text("7 (et) cd) D 1 7")
    (tmp_path / "7" / "wchan").write_text("jbd2_log_wait_commit")
    assert inventory.describe(7) == "etcd --name=x [D jbd2_log_wait_commit]"
    assert inventory.describe(8) == "(ended)"
