from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.local.cgroups import Hierarchies
from meshlab.core.errors import ClusterError, WaitTimeout

LINE = "{id} 31 0:{id} / {point} rw,relatime - {kind} {kind} rw\n"


def _mountinfo(folder: Path, **points: str) -> Path:
    lines = [LINE.format(id=i, point=point, kind=kind) for i, (point, kind) in enumerate(points.items(), 30)]
    file = folder / "mountinfo"
    file.write_text("".join(line.replace(" ", " ") for line in lines))
    return file


def _here(folder: Path, **kinds: str) -> Hierarchies:
    """Hierarchies below `folder`: name → cgroup or cgroup2."""
    for name in kinds:
        (folder / name).mkdir()
    return Hierarchies.here(_mountinfo(folder, **{str(folder / name): kind for name, kind in kinds.items()}))


def test_a_hybrid_machine_has_controllers_in_version_1_only(tmp_path: Path) -> None:
    found = _here(tmp_path, cpu="cgroup", memory="cgroup", unified="cgroup2")
    assert not found.unified
    assert found.mounts == (tmp_path / "cpu", tmp_path / "memory")
    assert found.bare == (tmp_path / "unified",)


def test_a_version_2_machine_has_one_hierarchy(tmp_path: Path) -> None:
    found = _here(tmp_path, cgroup="cgroup2")
    assert found == Hierarchies((tmp_path / "cgroup",), True)


def test_making_gives_a_cpuset_what_its_parent_has(tmp_path: Path) -> None:
    found = _here(tmp_path, cpuset="cgroup", cpu="cgroup")
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset" / "cpuset.mems").write_text("0\n")
    for name in ("top", "top/system"):  # the kernel would make these files with the folder
        (tmp_path / "cpuset" / name).mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            (tmp_path / "cpuset" / name / file).write_text("\n")
    found.make("top", ["system"])
    assert (tmp_path / "cpuset" / "top" / "system" / "cpuset.cpus").read_text() == "0-1"
    assert (tmp_path / "cpu" / "top" / "system").is_dir()


def test_making_on_version_2_delegates_what_the_machine_has(tmp_path: Path) -> None:
    found = _here(tmp_path, cgroup="cgroup2")
    for folder in (tmp_path / "cgroup", tmp_path / "cgroup" / "top"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpuset cpu memory pids misc\n")
        (folder / "cgroup.subtree_control").write_text("memory\n")
    found.make("top", ["node1"])
    for folder in (tmp_path / "cgroup", tmp_path / "cgroup" / "top"):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpuset +cpu +pids"


def test_making_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    missing = Hierarchies((tmp_path / "nowhere",), False)
    with pytest.raises(ClusterError, match="can't be made") as caught:
        missing.make("top", [])
    assert "root" in caught.value.remedy


def test_joining_moves_the_writer_itself(tmp_path: Path) -> None:
    found = _here(tmp_path, cpu="cgroup", pids="cgroup")
    found.make("top", ["system"])
    found.join("top/system")
    assert (tmp_path / "pids" / "top" / "system" / "cgroup.procs").read_text() == "0\n"


def test_processes_are_found_at_every_depth_and_in_every_hierarchy(tmp_path: Path) -> None:
    found = _here(tmp_path, cpu="cgroup", unified="cgroup2")
    for place, pids in (("cpu/top", "1\n"), ("cpu/top/node1/pod", "22\n0\n"), ("unified/top", "333\n")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "cgroup.procs").write_text(pids)
    assert found.processes("top") == {1, 22, 333}
    assert found.processes("other") == frozenset()


def test_removing_takes_the_deepest_first_and_is_fine_twice(tmp_path: Path) -> None:
    found = _here(tmp_path, cpu="cgroup", unified="cgroup2")
    (tmp_path / "cpu/top/a/b").mkdir(parents=True)
    (tmp_path / "unified/top/a").mkdir(parents=True)
    (tmp_path / "cpu/other").mkdir()
    found.remove("top")
    found.remove("top")
    assert found.folders("top") == []
    assert (tmp_path / "cpu/other").is_dir()


def test_removing_names_what_is_busy(tmp_path: Path) -> None:
    found = _here(tmp_path, cpu="cgroup")
    (tmp_path / "cpu/top").mkdir()
    (tmp_path / "cpu/top/file").touch()  # stands for a process: the folder can't go
    with pytest.raises(WaitTimeout, match="cpu/top"):
        found.remove("top", timeout=0.05)
