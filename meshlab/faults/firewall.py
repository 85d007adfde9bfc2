"""Rules in a node's network namespace that cut one workload off from another.

Only on the cluster that is made on this machine: its nodes are network namespaces. A rule carries our mark as
its comment, so that what a killed run left is found without knowing what it was.
"""

from __future__ import annotations

import shlex

from meshlab.clusters.local.components import inside
from meshlab.clusters.local.layout import Layout, NodeLayout
from meshlab.core.errors import ClusterError
from meshlab.core.process import Runner
from meshlab.run.ledger import Entry, Ledger

KIND = "firewall"  # of the ledger's entries that are written here
MARK = "meshlab-sabotage"
STEP = 20.0  # seconds; each command takes milliseconds


class Firewall:
    """The nodes' firewalls. Every rule is in the ledger before it is made."""

    def __init__(self, layout: Layout, runner: Runner, ledger: Ledger) -> None:
        self._layout, self._runner, self._ledger = layout, runner, ledger

    def cut(self, node: str, source: str, destination: str, port: int) -> None:
        """Refuse TCP from one pod's address to another's port, on the node of the first.

        Open connections are cut, too. Raises ClusterError for a node that the cluster does not have,
        ProcessError.
        """
        found = next((each for each in self._layout.nodes if each.name == node), None)
        if found is None:
            raise ClusterError(
                f"{node} is no node of cluster {self._layout.name}", remedy="name a local cluster's node"
            )
        rule = f"-s {source} -d {destination} -p tcp --dport {port} -m comment --comment {MARK}"
        self._ledger.intend(Entry(KIND, node, self._layout.name))
        self._iptables(found, f"-I FORWARD 1 {rule} -j REJECT --reject-with tcp-reset")

    def rules(self) -> tuple[str, ...]:
        """The rules of ours that are there, as `node: rule`. Raises ProcessError."""
        return tuple(f"{node.name}: {rule}" for node in self._layout.nodes for rule in self._ours(node))

    def restore(self) -> tuple[str, ...]:
        """Remove every rule of ours from every node and strike it out; returns what was removed."""
        removed = []
        for node in self._layout.nodes:
            if not node.netns.exists():
                continue
            for rule in self._ours(node):
                self._iptables(node, rule.replace("-A ", "-D ", 1))
                removed.append(f"{node.name}: {rule}")
        for entry in self._ledger.entries():
            if entry.kind == KIND and entry.where == self._layout.name:
                self._ledger.gone(entry)
        return tuple(removed)

    def _ours(self, node: NodeLayout) -> list[str]:
        return [line for line in self._iptables(node, "-S FORWARD").splitlines() if MARK in line]

    def _iptables(self, node: NodeLayout, words: str) -> str:
        argv = inside(node.netns, ("iptables", "-w", *shlex.split(words)))
        return self._runner.run(argv, timeout=STEP).stdout
