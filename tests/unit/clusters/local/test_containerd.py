"""The configuration holds what keeps us apart from the host; a containerd that dies says why."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from meshlab.clusters.local import containerd
from meshlab.clusters.local.containerd import ContainerdConfig
from meshlab.core.errors import ClusterError, WaitTimeout
from tests.fakes.clock import FakeClock
from tests.fakes.containerd import FakeContainerd


def config(tmp_path: Path, **changes: object) -> ContainerdConfig:
    values: dict[str, object] = {
        "root": tmp_path / "root",
        "state": tmp_path / "state",
        "socket": Path("/run/x/containerd.sock"),
        "sandbox_image": "localhost/meshlab/pause:1",
        "cni_conf_dir": tmp_path / "cni",
    }
    return ContainerdConfig(**(values | changes))  # type: ignore[arg-type]


def test_config_keeps_everything_in_its_own_folders(tmp_path: Path) -> None:
    parsed = tomllib.loads(containerd.render(config(tmp_path)))
    cri = parsed["plugins"]["io.containerd.grpc.v1.cri"]
    assert (parsed["root"], parsed["state"]) == (str(tmp_path / "root"), str(tmp_path / "state"))
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == "localhost/meshlab/pause:1"
    options = cri["containerd"]["runtimes"]["runc"]["options"]
    assert options == {"Root": str(tmp_path / "state/runc"), "SystemdCgroup": False}
    assert cri["cni"]["conf_dir"] == str(tmp_path / "cni")
    assert cri["registry"]["config_path"].startswith(str(tmp_path))
    assert "io.containerd.internal.v1.opt" in parsed["disabled_plugins"]


def test_paths_with_quotes_stay_one_value(tmp_path: Path) -> None:
    odd = tmp_path / 'a"b\\c'
    assert tomllib.loads(containerd.render(config(tmp_path, root=odd)))["root"] == str(odd)


def test_without_cri_the_plugin_is_off_and_its_settings_are_not_needed(tmp_path: Path) -> None:
    parsed = tomllib.loads(
        containerd.render(config(tmp_path, cri=False, sandbox_image="", cni_conf_dir=None))
    )
    assert "io.containerd.grpc.v1.cri" in parsed["disabled_plugins"]
    assert "plugins" not in parsed


@pytest.mark.parametrize(
    "changes",
    [{"sandbox_image": ""}, {"cni_conf_dir": None}, {"socket": Path("/run", "x" * 110)}],
    ids=["no sandbox image", "no cni", "long socket"],
)
def test_config_that_cannot_work_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ClusterError):
        containerd.render(config(tmp_path, **changes))


def test_prepare_makes_the_folders_and_can_run_twice(tmp_path: Path) -> None:
    wanted = config(tmp_path, socket=tmp_path / "s/c.sock", cri=False)
    for _ in range(2):
        file = containerd.prepare(wanted, tmp_path / "etc/config.toml")
    assert file.exists() and wanted.socket.parent.is_dir() and wanted.state.is_dir()


def test_an_early_end_fails_at_once_with_the_log(tmp_path: Path) -> None:
    runner = FakeContainerd(exits="failed to load plugin: no overlay")
    wanted = config(tmp_path, socket=tmp_path / "c.sock", cri=False)
    child = containerd.start(wanted, tmp_path / "c.toml", runner=runner, log_file=tmp_path / "log")
    clock = FakeClock()
    with pytest.raises(ClusterError, match="no overlay"):
        containerd.await_ready(
            wanted.socket, runner=runner, child=child, log_file=tmp_path / "log", clock=clock
        )
    assert clock.slept == []


def test_no_socket_ends_in_a_timeout_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout, match="no socket yet"):
        containerd.await_ready(tmp_path / "none", runner=FakeContainerd(), timeout=3, clock=FakeClock())


def test_ctr_always_names_our_socket_and_namespace() -> None:
    words = containerd.ctr(Path("/run/x.sock"), "images", "list")
    assert words[:3] == ("ctr", "--address", "/run/x.sock")
    assert words[-4:] == ("--namespace", "k8s.io", "images", "list")


def test_version_is_the_third_word() -> None:
    assert containerd.version(runner=FakeContainerd(version="1.6.99")) == "1.6.99"
