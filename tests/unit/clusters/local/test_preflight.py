from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.local import inotify, network, preflight
from meshlab.clusters.local.state import Record, State
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.errors import Problem
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import layout_in, machine_in, netns_in
from tests.unit.clusters.local.test_netfilter import IPTABLES, NO_QUEUE, PROBE

ROUTES = ("ip", "-4", "route", "show", "table", "all")
SETTINGS = LocalSettings(name="unit", network="10.250")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which nothing stands in the way."""
    netns_in(tmp_path, monkeypatch)
    monkeypatch.setattr(network, "links", lambda: frozenset({"lo"}))
    monkeypatch.setattr(preflight, "_privileges", list)
    monkeypatch.setattr(preflight, "_programs", lambda _: [])
    monkeypatch.setattr(preflight, "_resources", lambda *_: [])
    monkeypatch.setattr(preflight, "_paths", lambda _: [])
    monkeypatch.setattr(inotify, "problems", lambda *_: [])
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ip").touch(mode=0o755)
    return machine_in(tmp_path).model_copy(update={"path": str(programs)})


def _problems(machine: Machine, settings: LocalSettings = SETTINGS, routes: str = "") -> list[Problem]:
    found = preflight.problems(settings, machine, runner=FakeRunner({ROUTES: routes}))
    assert all(problem.remedy for problem in found), "each problem has a remedy"
    return found


def test_a_free_machine_has_no_problem_and_is_not_touched(machine: Machine) -> None:
    routes = "default via 192.0.2.1 dev eth0\n10.0.0.0/8 dev tun0\n10.25.0.0/16 dev x\nlocal 127.0.0.1\n"
    assert _problems(machine, routes=routes) == []
    assert not machine.state.exists() and not machine.cache.exists()


@pytest.mark.parametrize(
    "route",
    [
        "10.250.0.0/16 dev tun0",
        "10.250.3.0/24 via 192.0.2.9 dev eth0",
        "local 10.250.0.7 dev eth1 table local",
    ],
)
def test_a_range_that_is_routed_elsewhere_is_refused(machine: Machine, route: str) -> None:
    (found,) = _problems(machine, routes=f"default via 192.0.2.1 dev eth0\n{route} \n")
    assert found.where == "local.network" and route in found.what


def test_namespaces_and_links_of_others_are_refused(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "unit-node2").touch()
    monkeypatch.setattr(network, "links", lambda: frozenset({"lo", "unit-h0"}))
    found = _problems(machine)
    assert [p.where for p in found] == ["local.name"] * 2
    assert "namespace unit-node2" in found[0].what and found[0].remedy.endswith("ip netns delete unit-node2")
    assert "link unit-h0" in found[1].what and found[1].remedy.endswith("ip link delete unit-h0")


def test_what_the_record_names_is_ours(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_in(tmp_path)
    State(layout).write(Record("k", 3, "10.250", layout.namespaces, layout.host_link, layout.cgroup))
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "unit-hub").touch()
    monkeypatch.setattr(network, "links", lambda: frozenset({"unit-h0"}))
    assert _problems(machine, routes="10.250.0.0/24 via 10.250.255.2 dev unit-h0\n") == []


def test_another_runs_cluster_is_refused(machine: Machine, tmp_path: Path) -> None:
    State(layout_in(tmp_path)).claim("run-7")
    (found,) = _problems(machine)
    assert "run-7" in found.what


def test_only_the_compiled_version_can_be_asked_for(machine: Machine) -> None:
    (found,) = _problems(machine, LocalSettings(name="unit", network="10.250", kubernetes_version="v1.20.0"))
    assert found.where == "local.kubernetes_version" and "v1.20.0" in found.what


def test_missing_programs_are_named_with_their_package(tmp_path: Path) -> None:
    machine = machine_in(tmp_path).model_copy(update={"path": str(tmp_path)})
    found = {problem.what: problem.remedy for problem in preflight._programs(machine)}
    assert "apt-get install runc" in found["the program runc is missing"]
    assert len(found) >= len(preflight.PROGRAMS)


def test_too_little_disk_and_memory_are_told_in_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "DISK_COLD", 10**9)
    monkeypatch.setattr(preflight, "MEMORY", 10**9)
    found = [problem.what for problem in preflight._resources(layout_in(tmp_path), machine_in(tmp_path))]
    assert len(found) == 2 and "GB free" in found[0] and "GB of memory" in found[1]


def test_a_state_folder_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    (found,) = preflight._paths(layout_in(tmp_path / ("x" * 100)))
    assert found.where == "XDG_STATE_HOME"
    assert not list(preflight._paths(layout_in(Path("/root/.local/state/meshlab"))))


def test_unprivileged_users_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    (found,) = preflight._privileges()
    assert "root" in found.remedy


@pytest.mark.parametrize(("nftables", "refused"), [("ok\n", False), (NO_QUEUE, True)])
def test_network_policy_is_refused_where_the_kernel_can_not(
    machine: Machine, nftables: str, refused: bool
) -> None:
    runner = FakeRunner({ROUTES: "", PROBE: f"ok\n{nftables}", IPTABLES: 4})
    asked = LocalSettings(name="unit", network="10.250", network_policy=True)
    found = preflight.problems(asked, machine, runner=runner)
    assert [problem.where for problem in found] == ["local.network_policy"] * refused
    assert not machine.state.exists() and not machine.cache.exists()


def test_the_kernel_is_not_asked_without_privileges(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = Problem("--cluster local", "needs root", "run as root")
    monkeypatch.setattr(preflight, "_privileges", lambda: [lacks])
    asked = LocalSettings(name="unit", network="10.250", network_policy=True)
    assert preflight.problems(asked, machine, runner=FakeRunner({ROUTES: ""})) == [lacks]
