"""The cluster's network: one namespace per node, and one for the hub between the nodes and this machine.

The hub is a plain router: every node hangs on it by a pair of links, and so does this machine, which gets one
address and two routes. Forwarding, pods' interfaces and every firewall rule live in those namespaces, so this
machine's own firewall, forwarding and sysctls stay as they are. Namespaces are entered with nsenter; they are
files in /run/netns made without `ip netns add`, which would turn that folder into a mount that stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from meshlab.clusters.local.components import inside
from meshlab.clusters.local.layout import NETNS_DIR, Layout, NodeLayout
from meshlab.core.process import Runner

STEP = 20.0  # seconds; each of these commands takes milliseconds


def build(layout: Layout, runner: Runner) -> None:
    """Make namespaces, links, addresses and routes. Nothing of it may exist before.

    Args:
        layout: The cluster.
        runner: Starts ip, nsenter and iptables.

    Raises:
        ProcessError: A command failed.
    """
    NETNS_DIR.mkdir(parents=True, exist_ok=True)
    for name in layout.namespaces:
        _make_namespace(NETNS_DIR / name, runner)
    _batch(runner, layout.hub_netns, ["link set lo up"])
    _forward(layout.hub_netns, runner)
    _join_host(layout, runner)
    for node in layout.nodes:
        _join_node(layout, node, runner)


def _make_namespace(file: Path, runner: Runner) -> None:
    file.touch(exist_ok=False)
    runner.run(("unshare", f"--net={file}", "true"), timeout=STEP)


def _forward(netns: Path, runner: Runner) -> None:
    # rp_filter: a new namespace inherits the machine's; a strict one drops what kube-proxy redirects.
    folder = "/proc/sys/net/ipv4"
    script = f"echo 1 >{folder}/ip_forward; for i in all default; do echo 0 >{folder}/conf/$i/rp_filter; done"
    runner.run(inside(netns, ("sh", "-ec", script)), timeout=STEP)


def _join_host(layout: Layout, runner: Runner) -> None:
    _ip(runner, f"link add {layout.host_link} type veth peer name host0 netns {layout.hub}")
    _batch(
        runner,
        layout.hub_netns,
        [f"address add {layout.hub_link_address}/30 dev host0", "link set host0 up"],
    )
    _ip(runner, f"link set {layout.host_link} addrgenmode none")  # no IPv6 address on a link that needs none
    _ip(runner, f"address add {layout.host_address}/30 dev {layout.host_link}")
    _ip(runner, f"link set {layout.host_link} up")
    for subnet in (layout.node_subnet, layout.pod_subnet):
        _ip(runner, f"route add {subnet} via {layout.hub_link_address} dev {layout.host_link}")


def _join_node(layout: Layout, node: NodeLayout, runner: Runner) -> None:
    _batch(
        runner,
        layout.hub_netns,
        [
            f"link add {node.hub_link} type veth peer name eth0 netns {node.name}",
            # Every node's link carries the same address of the hub; only the far end differs.
            f"address add {layout.hub_address}/32 peer {node.address}/32 dev {node.hub_link}",
            f"link set {node.hub_link} up",
        ],
    )
    _batch(
        runner,
        node.netns,
        [
            "link set lo up",
            f"address add {node.address}/32 peer {layout.hub_address}/32 dev eth0",
            "link set eth0 up",
            f"route add default via {layout.hub_address} dev eth0",
        ],
    )
    _batch(runner, layout.hub_netns, [f"route add {node.pod_subnet} via {node.address} dev {node.hub_link}"])
    _forward(node.netns, runner)
    # Only what leaves the cluster is masqueraded: rewriting pod to pod would destroy the source's identity.
    rule = f"-t nat -A POSTROUTING -s {node.pod_subnet} ! -d {layout.everything} -j MASQUERADE"
    runner.run(inside(node.netns, ("iptables", "-w", *rule.split())), timeout=STEP)


def _ip(runner: Runner, words: str) -> None:
    runner.run(("ip", *words.split()), timeout=STEP)


def _batch(runner: Runner, netns: Path, lines: Sequence[str]) -> None:
    runner.run(inside(netns, ("ip", "-batch", "-")), input="\n".join(lines) + "\n", timeout=STEP)


def cni_configuration(node: NodeLayout) -> dict[str, object]:
    """Return the node's CNI network list: a routed pair of links per pod.

    ptp, not bridge: pods of one node talk through the node's routing, so that service addresses are
    translated back without br_netfilter. Its own name and dataDir: nodes share the machine's file system.
    """
    return {
        "cniVersion": "0.4.0",
        "name": node.name,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(node.root / "cni" / "addresses"),
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "ranges": [[{"subnet": node.pod_subnet, "gateway": node.pod_gateway}]],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def links() -> frozenset[str]:
    """Return names of this machine's own links."""
    return frozenset(path.name for path in Path("/sys/class/net").iterdir())


def namespaces() -> frozenset[str]:
    """Return names of this machine's network namespaces."""
    return frozenset(path.name for path in NETNS_DIR.iterdir()) if NETNS_DIR.is_dir() else frozenset()


def remove(link: str, names: Sequence[str], runner: Runner) -> None:
    """Remove this machine's link (its routes go with it) and the namespaces, as far as they exist.

    Args:
        link: The link's name.
        names: Of the namespaces.
        runner: Starts ip and umount.

    Raises:
        ProcessError: A command failed.
    """
    if link in links():
        _ip(runner, f"link delete {link}")
    for name in names:
        file = NETNS_DIR / name
        if not file.exists():
            continue
        if _is_namespace(file):
            runner.run(("umount", file), timeout=STEP)
        file.unlink()


def _is_namespace(file: Path) -> bool:
    # A bind mount of a namespace has another device (nsfs) than the folder that holds its name.
    return file.stat().st_dev != file.parent.stat().st_dev
