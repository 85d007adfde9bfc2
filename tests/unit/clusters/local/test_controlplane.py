from __future__ import annotations

from pathlib import Path

import yaml

from meshlab.clusters.local import certificates, controlplane
from meshlab.clusters.local.components import Component
from tests.unit.clusters.local.cluster_fixtures import layout_in

BINARIES = {
    name: Path("/bin", name)
    for name in (
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
    )
}


def flags(component: Component) -> dict[str, str]:
    """Flag → value of a component's command line."""
    pairs = (word[2:].partition("=") for word in component.argv if word.startswith("--"))
    return {name: value for name, _, value in pairs}


def test_everything_runs_in_the_hub(tmp_path: Path) -> None:
    found = controlplane.components(layout_in(tmp_path), BINARIES)
    assert [c.name for c in found] == ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    assert all(c.argv[:2] == ("nsenter", "--net=/run/netns/unit-hub") for c in found)


def test_the_api_server_stops_before_etcd() -> None:
    order = {c.name: c.order for c in controlplane.components(layout_in(Path("/x")), BINARIES)}
    assert order["kube-apiserver"] > order["etcd"]


def test_what_needs_rbac_waits_for_it(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    after = {c.name: c.after for c in controlplane.components(layout, BINARIES)}
    ready = controlplane.api_ready(layout)
    assert ready.target == "https://10.250.0.1:6443/readyz"
    assert after == {
        "etcd": (),
        "kube-apiserver": (),
        "kube-controller-manager": (ready,),
        "kube-scheduler": (ready,),
    }


def test_the_api_server_knows_its_addresses_and_files(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    certificates.write_all(layout)
    api = flags(controlplane.components(layout, BINARIES)[1])
    assert api["advertise-address"] == "10.250.0.1" and api["service-cluster-ip-range"] == "10.250.128.0/20"
    assert api["enable-aggregator-routing"] == "true", "webhooks are called at pods' addresses"
    named = [name for name in api if name.endswith(("-file", "-certificate", "-key", "-authority"))]
    assert len(named) >= 9 and all(Path(api[name]).exists() for name in named)


def test_preparing_writes_three_kubeconfigs(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    certificates.write_all(layout)
    controlplane.prepare(layout)
    found = {yaml.safe_load(p.read_text())["users"][0]["name"] for p in layout.root.rglob("*kubeconfig")}
    assert found == {"admin", "kube-controller-manager", "kube-scheduler"}
    assert layout.resolv_conf.read_text() == "nameserver 10.250.128.10\n"
