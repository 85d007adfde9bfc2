from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.clusters.local import certificates, controlplane, node
from meshlab.clusters.local.components import Gate
from meshlab.clusters.local.layout import Layout, NodeLayout
from tests.unit.clusters.local.cluster_fixtures import layout_in
from tests.unit.clusters.local.test_controlplane import BINARIES, flags


@pytest.fixture
def second() -> Iterator[tuple[Layout, NodeLayout]]:
    """A cluster of two whose second node is prepared, in a folder short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        layout = layout_in(Path(folder), nodes=2, domain="corp.local")
        certificates.write_all(layout)
        node.prepare(layout, layout.nodes[1], sandbox_image="localhost/pause:1")
        yield layout, layout.nodes[1]


def test_kubelet_has_folders_cgroup_and_keys_of_its_own(second: tuple[Layout, NodeLayout]) -> None:
    layout, one = second
    kubelet = json.loads((one.root / "kubelet.json").read_text())
    assert kubelet["cgroupRoot"] == "/meshlab-unit/node2" and kubelet["cgroupDriver"] == "cgroupfs"
    assert kubelet["failCgroupV1"] is False
    assert kubelet["protectKernelDefaults"] is True, "else it changes the machine's kernel settings"
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{one.socket}"
    for name in ("podLogsDir", "volumePluginDir"):
        assert Path(kubelet[name]).is_relative_to(one.root)
    assert Path(kubelet["resolvConf"]) == layout.resolv_conf
    assert kubelet["authentication"]["anonymous"]["enabled"] is False
    assert kubelet["authorization"]["mode"] == "Webhook"
    assert Path(kubelet["tlsCertFile"]).exists() and Path(kubelet["tlsPrivateKeyFile"]).exists()
    assert kubelet["clusterDNS"] == [layout.dns_service]
    assert kubelet["clusterDomain"] == "corp.local"


def test_kube_proxy_leaves_the_machines_connection_table_alone(second: tuple[Layout, NodeLayout]) -> None:
    layout, one = second
    proxy = json.loads((one.root / "kube-proxy.json").read_text())
    assert proxy["conntrack"] == {"maxPerCore": 0, "min": 0}
    assert proxy["clusterCIDR"] == layout.pod_subnet and proxy["mode"] == "iptables"
    assert proxy["hostnameOverride"] == one.name == "unit-node2"


def test_containerd_uses_the_nodes_folders(second: tuple[Layout, NodeLayout]) -> None:
    _, one = second
    content = tomllib.loads((one.root / "containerd.toml").read_text())
    assert content["grpc"]["address"] == str(one.socket)
    cri = content["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "localhost/pause:1"
    assert list(Path(cri["cni"]["conf_dir"]).glob("*.conflist"))


def test_kubelet_starts_after_containerd_and_the_api_server(second: tuple[Layout, NodeLayout]) -> None:
    layout, one = second
    containerd, kubelet, proxy = node.components(layout, one, BINARIES)
    assert containerd.after == ()
    assert kubelet.after == (Gate("unix", str(one.socket)), Gate("tcp", "10.250.0.1:6443"))
    assert proxy.after == (controlplane.api_ready(layout),)
    assert containerd.order < kubelet.order, "containerd stops last"
    assert flags(kubelet)["containerd"] == str(one.socket), "cAdvisor would ask the host's"
    assert {c.argv[1] for c in (containerd, kubelet, proxy)} == {"--net=/run/netns/unit-node2"}
    assert kubelet.env == {"TMPDIR": str(layout.root / "tmp")}
