"""Istio's CNI node agent on the local cluster, where it was asked for: compiled, in an image, and with places to write to.

The agent is a DaemonSet of Istio's. It copies a plugin to where containerd looks for them, and adds it to the node's list of
plugins. Those two places are where the nodes' processes find them below /var/lib, which in their cell is the cluster's own.
"""

from __future__ import annotations

from pathlib import Path

from meshlab.clusters.local import cell
from meshlab.clusters.local.layout import Layout, NodeLayout
from meshlab.config.settings import LocalSettings

STAGE = "cni"
AGENT, PLUGIN = "install-cni", "istio-cni"  # programs; the first is also the image's name
HOME = Path("/var/lib/meshlab-cni")
BIN = HOME / "bin"  # of all nodes: what the agents write there is the same
CONF = HOME / "net.d"  # a folder for each node in it, named as the node is


def stages(settings: LocalSettings) -> tuple[str, ...]:
    """Return what has to be compiled for it: nothing where it is not asked for."""
    return (STAGE,) if settings.cni else ()


def conf_of(node: NodeLayout) -> Path:
    """Return the folder of a node's list of plugins, as its processes see it."""
    return CONF / node.name


def prepare(layout: Layout, node: NodeLayout, plugins: Path) -> Path:
    """Make the two places, with the plugins that the machine has.

    Args:
        layout: The cluster.
        node: One of its nodes.
        plugins: The folder of the machine's own plugins.

    Returns:
        Where the node's list of plugins is written, outside of the cell.
    """
    ours = cell.outside(layout.root, BIN)
    ours.mkdir(parents=True, exist_ok=True)
    for each in plugins.iterdir() if plugins.is_dir() else ():
        link = ours / each.name
        if not link.is_symlink():
            link.symlink_to(each)
    conf = cell.outside(layout.root, conf_of(node))
    conf.mkdir(parents=True, exist_ok=True)
    return conf
