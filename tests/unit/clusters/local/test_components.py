from __future__ import annotations

from pathlib import Path

from meshlab.clusters.local.components import Component, Gate, Plan, inside


def test_a_plan_survives_the_file(tmp_path: Path) -> None:
    gates = (Gate("unix", "/s"), Gate("https", "https://10.0.0.1:6443/readyz", "/ca"))
    component = Component("kubelet", ("a", "b"), "/log", {"TMPDIR": "/t"}, gates, 2)
    plan = Plan("unit", "/root", "/status", "meshlab-unit", (component, Component("etcd", ("e",), "/log2")))
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


def test_a_namespace_is_entered_without_a_fresh_sys() -> None:
    argv = inside(Path("/run/netns/a"), [Path("/bin/kubelet"), "--x=1"])
    assert argv == ("nsenter", "--net=/run/netns/a", "/bin/kubelet", "--x=1")
