from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from meshlab.clusters.local import cell
from meshlab.core.errors import ProcessError
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import layout_in


def test_the_supervisor_is_started_as_nobodys_child_in_a_cell(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    runner = FakeRunner(script="exit 0")
    cell.launch(layout, runner)
    (words,) = runner.spawned
    assert words[:3] == ("setsid", "--fork", "unshare")
    assert {"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"} <= set(words)
    assert words[-2:] == ("meshlab.clusters.local.supervisor", str(layout.plan))


def test_a_refused_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="not started"):
        cell.launch(layout_in(tmp_path), FakeRunner(script="exit 1"))


def test_the_machines_folders_are_covered_and_its_kernel_settings_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell, "NETNS_DIR", tmp_path / "netns")
    runner = FakeRunner({("mount",): ""})
    cell.prepare(tmp_path, runner)
    overlays = [words[-1] for words in runner.commands if "overlay" in words]
    assert overlays == ["/run", "/var/lib", "/var/log"]
    hidden = {words[-1] for words in runner.commands if words[-1].startswith("/proc/sys/")}
    assert hidden == {f"/proc/sys/{name}" for name in cell.KERNEL_SETTINGS}
    assert (tmp_path / "host" / "sysctl" / "kernel.panic").read_text() == "10\n"
    assert ("mount", "--bind", str(tmp_path / "resolv.conf"), "/etc/resolv.conf") in runner.commands
    order = [words[-1] for words in runner.commands]
    assert order.index(str(tmp_path)) > order.index("/var/log"), (
        "the cluster's folder may be below a covered one"
    )


def test_the_first_process_of_a_cell_is_told_by_its_second_id(tmp_path: Path) -> None:
    for pid, ids in (("7", "7"), ("8", "8\t1"), ("9", "9\t5")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "status").write_text(f"Name:\tx\nNSpid:\t{ids}\n")
    assert cell.first_process(frozenset({7, 8, 9, 10}), tmp_path) == 8
    assert cell.first_process(frozenset({7, 9}), tmp_path) is None


def test_ending_what_is_gone_is_fine() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    cell.end(child.pid, cell.signal.SIGTERM)
