from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from meshlab.clusters.local import certificates, controlplane, netfilter, network_policy, pins
from meshlab.clusters.local.api import PATHS
from meshlab.config.settings import LocalSettings
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import layout_in
from tests.unit.clusters.local.test_controlplane import flags
from tests.unit.clusters.local.test_netfilter import IPTABLES, NO_QUEUE, PROBE

ASKED, NOT_ASKED = LocalSettings(network_policy=True), LocalSettings()
BINARIES = {network_policy.PROGRAM: Path("/cache/kube-network-policies")}


def prepared(folder: Path, nftables: str) -> FakeRunner:
    layout = layout_in(folder, nodes=2)
    certificates.write_all(layout, users=network_policy.users(ASKED))
    runner = FakeRunner({PROBE: f"ok\n{nftables}", IPTABLES: "", ("nsenter",): ""})
    network_policy.prepare(layout, ASKED, runner)
    return runner


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    assert network_policy.stages(NOT_ASKED) == network_policy.users(NOT_ASKED) == ()
    assert network_policy.components(layout, NOT_ASKED, {}) == network_policy.documents(NOT_ASKED) == []
    network_policy.prepare(layout, NOT_ASKED, FakeRunner())
    assert not layout.root.exists()


def test_each_node_runs_it_in_its_own_network_namespace(tmp_path: Path) -> None:
    layout = layout_in(tmp_path, nodes=2)
    found = network_policy.components(layout, ASKED, BINARIES)
    assert [each.name for each in found] == ["kube-network-policies-node1", "kube-network-policies-node2"]
    assert [each.argv[1] for each in found] == ["--net=/run/netns/unit-node1", "--net=/run/netns/unit-node2"]
    assert flags(found[1])["hostname-override"] == "unit-node2"
    assert {flags(each)["nfqueue-id"] for each in found} == {str(netfilter.QUEUE)}
    assert all(each.after == (controlplane.api_ready(layout),) for each in found)
    assert len({each.log for each in found}) == 2


def test_it_is_a_user_of_its_own_that_reads_and_writes_nothing_else() -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared(Path(folder), "ok\n")
        layout = layout_in(Path(folder), nodes=2)
        given = flags(network_policy.components(layout, ASKED, BINARIES)[0])["kubeconfig"]
        (user,) = yaml.safe_load(Path(given).read_text())["users"]
    role, binding = network_policy.documents(ASKED)
    (subject,) = binding["subjects"]
    assert user["name"] == subject["name"] == network_policy.PROGRAM and subject["kind"] == "User"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list", "watch"}
    assert {word for rule in role["rules"] for word in rule["resources"]} == {
        "pods",
        "namespaces",
        "networkpolicies",
    }
    assert {each["kind"] for each in (role, binding)} <= set(PATHS), "the first calls know how to apply them"


def test_rules_are_made_for_it_only_where_it_can_not_make_them(tmp_path: Path) -> None:
    able = prepared(tmp_path / "able", "ok\n")
    assert [words[0] for words in able.commands] == ["unshare"]
    unable = prepared(tmp_path / "unable", NO_QUEUE)
    made = [words for words in unable.commands if words[0] == "nsenter"]
    assert made == [
        ("nsenter", f"--net=/run/netns/unit-node{index}", *netfilter.RESTORE) for index in (1, 2)
    ], "in the nodes' network namespaces, so that they go with these"
    assert unable.inputs[-2:] == [netfilter.iptables_rules(f"10.250.{third}.0/24") for third in (16, 17)]


def test_the_stage_is_pinned_and_has_the_programs_name() -> None:
    stage = pins.STAGES[network_policy.STAGE]
    assert [target.name for target in stage.targets] == [network_policy.PROGRAM]
    pinned, mesh = pins.requirements(stage.module), pins.requirements("mesh")
    assert pinned["sigs.k8s.io/kube-network-policies"].startswith("v0.")
    shared = ("k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "golang.org/x/net")
    assert {name: pinned[name] for name in shared} == {name: mesh[name] for name in shared}, "compiled once"
