"""Names, addresses and paths of one local cluster.

Everything is derived from its settings, so that it can be found again. The addresses inside the /16 that the settings
name (10.N):

    10.N.255.0/30   the link between this machine (.1) and the hub (.2)
    10.N.0.0/24     nodes: the hub, where the control plane runs, is .1; node i is .(10+i)
    10.N.16.0/20    pods: node i has 10.N.(15+i).0/24
    10.N.128.0/20   services: the API server's is .1, the DNS server's .10
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.address import host_port

NETNS_DIR = Path("/run/netns")  # where iproute2 looks for names of network namespaces
API_PORT = 6443
RESOLV_CONF = "resolv.conf"


@dataclass(frozen=True)
class NodeLayout:
    """One node. index counts from 1; name is the node's name in Kubernetes and of its network namespace."""

    index: int
    name: str
    root: Path
    address: str
    pod_subnet: str
    pod_gateway: str
    cgroup: str

    @property
    def netns(self) -> Path:
        """The file that holds the node's network namespace."""
        return NETNS_DIR / self.name

    @property
    def containerd_root(self) -> Path:
        """The persistent folder of containerd: a clone of the golden one."""
        return self.root / "containerd"

    @property
    def socket(self) -> Path:
        """The gRPC socket of containerd."""
        return self.root / "run" / "containerd.sock"

    @property
    def hub_link(self) -> str:
        """The hub's end of the pair of links that joins it with this node; the node's end is eth0."""
        return f"node{self.index}"


@dataclass(frozen=True)
class Layout:
    """One cluster. root: its folder under the XDG state folder; network: the first two octets of its /16; domain: of its DNS."""

    name: str
    root: Path
    network: str
    node_count: int
    domain: str = "cluster.local"

    @classmethod
    def of(cls, settings: LocalSettings, machine: Machine) -> Layout:
        """Derive the layout that settings mean on a machine.

        Args:
            settings: Of the cluster.
            machine: Its state folder holds the cluster's.

        Returns:
            The layout.
        """
        return cls(
            settings.name,
            machine.state / "clusters" / settings.name,
            settings.network,
            settings.nodes,
            settings.cluster_domain,
        )

    @cached_property
    def nodes(self) -> tuple[NodeLayout, ...]:
        """The nodes, in order."""
        return tuple(self._node(i) for i in range(1, self.node_count + 1))

    def _node(self, index: int) -> NodeLayout:
        third = 15 + index
        return NodeLayout(
            index=index,
            name=f"{self.name}-node{index}",
            root=self.root / f"node{index}",
            address=f"{self.network}.0.{10 + index}",
            pod_subnet=f"{self.network}.{third}.0/24",
            pod_gateway=f"{self.network}.{third}.1",
            cgroup=f"/{self.cgroup}/node{index}",
        )

    @property
    def hub(self) -> str:
        """The network namespace of the control plane, which also routes between the nodes and this machine."""
        return f"{self.name}-hub"

    @property
    def hub_netns(self) -> Path:
        """The file that holds the hub's network namespace."""
        return NETNS_DIR / self.hub

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every network namespace of the cluster, the pods' own ones not included."""
        return (self.hub, *(node.name for node in self.nodes))

    @property
    def host_link(self) -> str:
        """The only link of the cluster on this machine.

        The kernel takes at most 15 characters; the cluster's name has at most 12.
        """
        return f"{self.name}-h0"

    @property
    def host_address(self) -> str:
        """This machine's address on that link."""
        return f"{self.network}.255.1"

    @property
    def hub_link_address(self) -> str:
        """The hub's address on that link: the next hop of this machine's routes."""
        return f"{self.network}.255.2"

    @property
    def hub_address(self) -> str:
        """The address at which nodes, pods and this machine reach the API server."""
        return f"{self.network}.0.1"

    @property
    def endpoint(self) -> str:
        """The API server's URL."""
        return f"https://{host_port(self.hub_address, API_PORT)}"

    @property
    def node_subnet(self) -> str:
        """The addresses of the nodes."""
        return f"{self.network}.0.0/24"

    @property
    def pod_subnet(self) -> str:
        """The addresses of all pods."""
        return f"{self.network}.16.0/20"

    @property
    def service_subnet(self) -> str:
        """The addresses of services."""
        return f"{self.network}.128.0/20"

    @property
    def everything(self) -> str:
        """All addresses of the cluster."""
        return f"{self.network}.0.0/16"

    @property
    def kubernetes_service(self) -> str:
        """The first service address, which the API server gives to itself."""
        return f"{self.network}.128.1"

    @property
    def dns_service(self) -> str:
        """The service address of the cluster's DNS server."""
        return f"{self.network}.128.10"

    @property
    def cgroup(self) -> str:
        """The cluster's cgroup in every hierarchy, without a leading slash.

        `system` below it holds the components, `nodeN` the pods of a node.
        """
        return f"meshlab-{self.name}"

    @property
    def node_cgroups(self) -> list[str]:
        """Names of the nodes' cgroups, in the cluster's."""
        return [one.cgroup.rsplit("/", 1)[-1] for one in self.nodes]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.root / "logs"

    @property
    def plan(self) -> Path:
        """What the supervisor is to run."""
        return self.root / "plan.json"

    @property
    def status(self) -> Path:
        """What the supervisor says about it."""
        return self.root / "status.json"

    @property
    def ca(self) -> Path:
        """The certificate of the cluster's certificate authority."""
        return self.pki / "ca.crt"

    @property
    def front_proxy_ca(self) -> Path:
        """The certificate of the authority that vouches for the API server at extension API servers."""
        return self.pki / "front-proxy-ca.crt"

    @property
    def resolv_conf(self) -> Path:
        """The resolver's configuration of every node: the cluster's DNS server, as there is none outside."""
        return self.root / RESOLV_CONF
