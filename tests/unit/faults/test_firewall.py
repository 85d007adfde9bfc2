from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import ClusterError
from meshlab.core.process import Completed
from meshlab.faults.firewall import MARK, Firewall
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from tests.unit.clusters.local.cluster_fixtures import layout_in, netns_in


class FakeNodes:
    """Each namespace's FORWARD chain, as iptables keeps it; other commands are refused."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {}

    def run(self, argv, *, timeout: float, **_: object) -> Completed:
        enter, tool, flag, *words = map(str, argv[1:])
        assert (argv[0], tool, flag) == ("nsenter", "iptables", "-w")
        chain = self.chains.setdefault(
            Path(enter.removeprefix("--net=")).name, ["-A FORWARD -j KUBE-FORWARD"]
        )
        rule = " ".join(words[3:] if words[0] == "-I" else words[2:])
        if words[:2] == ["-S", "FORWARD"]:
            return Completed(tuple(argv), 0, "\n".join(["-P FORWARD ACCEPT", *chain]), "", 0.0)
        if words[:3] == ["-I", "FORWARD", "1"]:
            chain.insert(0, f"-A FORWARD {rule}")
        elif words[:2] == ["-D", "FORWARD"]:
            chain.remove(f"-A FORWARD {rule}")
        else:
            raise AssertionError(f"nobody expected iptables {words}")
        return Completed(tuple(argv), 0, "", "", 0.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), create(tmp_path / "runs", "sabotage"))


def test_a_rule_is_in_the_ledger_and_goes_with_its_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    names = netns_in(tmp_path, monkeypatch)
    names.mkdir()
    layout, nodes = layout_in(tmp_path, nodes=2), FakeNodes()
    for node in layout.nodes:
        node.netns.touch()
    firewall = Firewall(layout, nodes, ledger)
    assert firewall.rules() == ()
    firewall.cut("unit-node2", "10.250.17.3", "10.250.16.4", 9080)
    [rule] = firewall.rules()
    assert rule.startswith("unit-node2: -A FORWARD -s 10.250.17.3 -d 10.250.16.4 -p tcp --dport 9080")
    assert MARK in rule and rule.endswith("-j REJECT --reject-with tcp-reset")
    assert [(entry.kind, entry.name, entry.where) for entry in ledger.entries()] == [
        ("firewall", "unit-node2", "unit")
    ]
    assert Firewall(layout, nodes, ledger).restore() == (rule,)  # another process, by the mark alone
    assert nodes.chains == {name: ["-A FORWARD -j KUBE-FORWARD"] for name in ("unit-node1", "unit-node2")}
    assert ledger.entries() == ()
    assert firewall.restore() == ()


def test_a_node_of_another_cluster_is_refused_and_one_that_is_gone_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    netns_in(tmp_path, monkeypatch)
    firewall = Firewall(layout_in(tmp_path), FakeNodes(), ledger)
    with pytest.raises(ClusterError, match="gke-1 is no node of cluster unit"):
        firewall.cut("gke-1", "10.0.0.1", "10.0.0.2", 80)
    assert ledger.entries() == ()
    assert firewall.restore() == ()
