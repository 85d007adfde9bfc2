"""NetworkPolicies on the local cluster: kube-network-policies on each node, where it was asked for.

The kernel hands it the first packet of every connection of the node's pods, in the node's network namespace, and it
answers whether a policy lets it pass. Rules and queue go with that namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from meshlab.clusters.local import controlplane, kubeconfig, netfilter
from meshlab.clusters.local.components import Component, inside
from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LocalSettings
from meshlab.core.errors import Problem
from meshlab.core.process import Runner

STAGE = "network-policy"
PROGRAM = "kube-network-policies"  # also the user that it is for the API server
MANIFEST = Path(__file__).parents[2] / "manifests" / "network-policy.yaml"


def problems(settings: LocalSettings, runner: Runner) -> Iterator[Problem]:
    """Say why this kernel can't enforce NetworkPolicies, where that is asked for.

    Args:
        settings: Of the cluster.
        runner: Asks the kernel.

    Yields:
        The problem.
    """
    if settings.network_policy and (refusal := netfilter.ask(runner).refusal):
        what = f"this kernel can't enforce NetworkPolicies: {refusal}"
        remedy = "leave it out, or use a kernel with NFNETLINK_QUEUE and NFT_QUEUE (or NETFILTER_XT_TARGET_NFQUEUE)"
        yield Problem("local.network_policy", what, remedy)


def stages(settings: LocalSettings) -> tuple[str, ...]:
    """Return what has to be compiled for it: nothing where it is not asked for."""
    return (STAGE,) if settings.network_policy else ()


def users(settings: LocalSettings) -> tuple[str, ...]:
    """Return the names under which it asks the API server, each of which needs a certificate."""
    return (PROGRAM,) if settings.network_policy else ()


def prepare(layout: Layout, settings: LocalSettings, runner: Runner) -> None:
    """Write its kubeconfig, and make the rules that it can't make itself on a kernel without nftables' queue.

    Args:
        layout: The cluster. Its keys and network namespaces must be there.
        settings: Of the cluster. Where NetworkPolicies are not asked for, nothing is done.
        runner: Asks the kernel, and starts nsenter and iptables-restore.

    Raises:
        ProcessError: The rules are refused.
    """
    if not settings.network_policy:
        return
    kubeconfig.write(layout, _kubeconfig(layout), PROGRAM)
    if not netfilter.ask(runner).nftables:
        return
    for node in layout.nodes:
        rules = netfilter.iptables_rules(node.pod_subnet)
        runner.run(inside(node.netns, netfilter.RESTORE), input=rules, timeout=netfilter.STEP)


def components(layout: Layout, settings: LocalSettings, binaries: Mapping[str, Path]) -> list[Component]:
    """Return one program for each node, ready to be supervised.

    Args:
        layout: The cluster.
        settings: Of the cluster.
        binaries: Name → path of what is compiled.

    Returns:
        The components; none where NetworkPolicies are not asked for.
    """
    if not settings.network_policy:
        return []
    return [
        Component(
            f"{PROGRAM}-node{node.index}",
            inside(
                node.netns,
                (
                    binaries[PROGRAM],
                    f"--kubeconfig={_kubeconfig(layout)}",
                    f"--hostname-override={node.name}",
                    f"--nfqueue-id={netfilter.QUEUE}",
                ),
            ),
            str(layout.logs / f"{PROGRAM}-node{node.index}.log"),
            after=(controlplane.api_ready(layout),),
            order=controlplane.AGENTS,
        )
        for node in layout.nodes
    ]


def documents(settings: LocalSettings) -> list[dict[str, Any]]:
    """Return the objects that let it read pods, namespaces and NetworkPolicies."""
    return list(yaml.safe_load_all(MANIFEST.read_text())) if settings.network_policy else []


def _kubeconfig(layout: Layout) -> Path:
    return layout.root / "hub" / f"{PROGRAM}.kubeconfig"
