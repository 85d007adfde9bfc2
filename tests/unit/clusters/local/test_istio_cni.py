"""Istio's CNI node agent on the local cluster: off unless asked for, and nothing of it outside of the cluster's folder."""

from __future__ import annotations

import json
import tempfile
import tomllib
from pathlib import Path

from meshlab.clusters.local import cell, certificates, containerd, istio_cni, node, pins
from meshlab.config.settings import LocalSettings
from tests.unit.clusters.local.cluster_fixtures import layout_in


def test_it_is_off_unless_asked_for() -> None:
    assert istio_cni.stages(LocalSettings()) == ()
    assert istio_cni.stages(LocalSettings(cni=True)) == (istio_cni.STAGE,)


def test_the_stage_is_the_pinned_istio_with_the_libraries_that_are_compiled_already() -> None:
    stage = pins.STAGES[istio_cni.STAGE]
    assert {target.name for target in stage.targets} == {istio_cni.AGENT, istio_cni.PLUGIN}
    pinned, mesh = pins.requirements(stage.module), pins.requirements("mesh")
    assert {name: version for name, version in pinned.items() if mesh.get(name, version) != version} == {}
    assert pinned[pins.ISTIO] == mesh[pins.ISTIO]
    assert "istio.io/istio/pkg/version.buildVersion" in pins.ldflags(stage)


def test_a_node_looks_where_the_agent_writes_and_the_machine_keeps_its_own() -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = layout_in(Path(folder), nodes=2)
        certificates.write_all(layout)
        second = layout.nodes[1]
        node.prepare(layout, second, sandbox_image="localhost/pause:1", cni=True)
        cri = tomllib.loads((second.root / "containerd.toml").read_text())["plugins"]
        found = cri["io.containerd.grpc.v1.cri"]["cni"]
        assert (found["conf_dir"], found["bin_dir"]) == (
            "/var/lib/meshlab-cni/net.d/unit-node2",
            "/var/lib/meshlab-cni/bin",
        )
        written = cell.outside(layout.root, Path(found["conf_dir"]))
        assert written.is_relative_to(layout.root)
        [plugins] = [json.loads(each.read_text())["plugins"] for each in written.iterdir()]
        assert plugins[0]["type"] == "ptp"
        assert not (second.root / "cni" / "net.d").exists()
    assert not istio_cni.HOME.exists()


def test_the_machines_plugins_are_found_beside_what_the_agent_brings(tmp_path: Path) -> None:
    layout, plugins = layout_in(tmp_path, nodes=2), tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "ptp").write_text("a program")
    for each in layout.nodes:  # the places of all nodes are one folder
        istio_cni.prepare(layout, each, plugins)
    there = cell.outside(layout.root, istio_cni.BIN)
    assert {each.name: each.readlink() for each in there.iterdir()} == {"ptp": plugins / "ptp"}
    assert istio_cni.prepare(layout, layout.nodes[0], tmp_path / "none").is_dir()


def test_without_it_a_node_is_as_it_was() -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = layout_in(Path(folder))
        certificates.write_all(layout)
        one = layout.nodes[0]
        node.prepare(layout, one, sandbox_image="localhost/pause:1")
        cri = tomllib.loads((one.root / "containerd.toml").read_text())["plugins"]
        found = cri["io.containerd.grpc.v1.cri"]["cni"]
        assert found["bin_dir"] == str(containerd.CNI_PLUGINS)
        assert found["conf_dir"] == str(one.root / "cni" / "net.d")
        assert not (layout.root / cell.HOST).exists()
