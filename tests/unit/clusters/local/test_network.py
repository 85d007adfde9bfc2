from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.local import network
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import layout_in, netns_in


def test_the_machine_itself_gets_one_link_one_address_and_two_routes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netns_in(tmp_path, monkeypatch)
    runner = FakeRunner({("ip",): "", ("nsenter",): "", ("unshare",): ""})
    network.build(layout_in(tmp_path), runner)
    outside = [" ".join(words) for words in runner.commands if words[0] == "ip"]
    assert outside == [
        "ip link add unit-h0 type veth peer name host0 netns unit-hub",
        "ip link set unit-h0 addrgenmode none",
        "ip address add 10.250.255.1/30 dev unit-h0",
        "ip link set unit-h0 up",
        "ip route add 10.250.0.0/24 via 10.250.255.2 dev unit-h0",
        "ip route add 10.250.16.0/20 via 10.250.255.2 dev unit-h0",
    ]
    assert {words[0] for words in runner.commands} == {"ip", "nsenter", "unshare"}, "iptables only inside"


def test_pods_are_masqueraded_only_when_they_leave_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = netns_in(tmp_path, monkeypatch)
    runner = FakeRunner({("ip",): "", ("nsenter",): "", ("unshare",): ""})
    network.build(layout_in(tmp_path, nodes=1), runner)
    rules = [" ".join(words) for words in runner.commands if "iptables" in words]
    expected = "-t nat -A POSTROUTING -s 10.250.16.0/24 ! -d 10.250.0.0/16 -j MASQUERADE"
    assert rules == [f"nsenter --net={names / 'unit-node1'} iptables -w {expected}"]


def test_a_namespace_that_exists_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = netns_in(tmp_path, monkeypatch)
    names.mkdir()
    (names / "unit-hub").touch()
    with pytest.raises(FileExistsError):
        network.build(layout_in(tmp_path), FakeRunner())


def test_removing_touches_only_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = netns_in(tmp_path, monkeypatch)
    names.mkdir()
    (names / "unit-hub").touch()
    (names / "stranger").touch()
    monkeypatch.setattr(network, "links", lambda: frozenset({"lo", "unit-h0"}))
    runner = FakeRunner({("ip", "link", "delete", "unit-h0"): ""})
    network.remove("unit-h0", ["unit-hub", "unit-node1"], runner)
    assert runner.commands == [("ip", "link", "delete", "unit-h0")]
    assert [path.name for path in names.iterdir()] == ["stranger"]
    assert network.namespaces() == {"stranger"}


def test_pods_get_routed_links_from_the_nodes_own_range(tmp_path: Path) -> None:
    node = layout_in(tmp_path).nodes[2]
    content = network.cni_configuration(node)
    plugin = content["plugins"][0]  # type: ignore[index]
    assert plugin["type"] == "ptp" and plugin["ipMasq"] is False
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.250.18.0/24", "gateway": "10.250.18.1"}]]
    assert Path(plugin["ipam"]["dataDir"]).is_relative_to(node.root)
