"""A node: containerd, kubelet and kube-proxy in the node's network namespace, with folders of its own.

Field names and defaults: the Kubernetes API references "Kubelet Configuration (v1beta1)" and
"kube-proxy Configuration (v1alpha1)".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from meshlab.clusters.local import containerd, controlplane, istio_cni, kubeconfig, network
from meshlab.clusters.local.components import Component, Gate, inside
from meshlab.clusters.local.containerd import ContainerdConfig
from meshlab.clusters.local.layout import Layout, NodeLayout
from meshlab.core.files import write_atomically


def prepare(layout: Layout, node: NodeLayout, *, sandbox_image: str, cni: bool = False) -> None:
    """Write the node's configuration files; keys and the clone of the golden containerd root must be there.

    Args:
        layout: The cluster.
        node: One of its nodes.
        sandbox_image: The image that holds a pod's namespaces (pause), which must be among the golden ones.
        cni: Istio's CNI node agent will add its plugin to those that connect pods.
    """
    plugins = node.root / "cni" / "net.d"
    written = istio_cni.prepare(layout, node, containerd.CNI_PLUGINS) if cni else plugins
    configuration = ContainerdConfig(
        root=node.containerd_root,
        state=node.root / "run" / "containerd",
        socket=node.socket,
        sandbox_image=sandbox_image,
        cni_conf_dir=istio_cni.conf_of(node) if cni else plugins,
        cni_bin_dir=istio_cni.BIN if cni else containerd.CNI_PLUGINS,
    )
    containerd.prepare(configuration, node.root / "containerd.toml")
    write_atomically(written / "10-meshlab.conflist", json.dumps(network.cni_configuration(node), indent=1))
    write_atomically(node.root / "kubelet.json", json.dumps(_kubelet(layout, node), indent=1))
    write_atomically(node.root / "kube-proxy.json", json.dumps(_kube_proxy(layout, node), indent=1))
    kubeconfig.write(layout, node.root / "kubelet.kubeconfig", node.name)
    kubeconfig.write(layout, node.root / "kube-proxy.kubeconfig", "kube-proxy")


def components(layout: Layout, node: NodeLayout, binaries: Mapping[str, Path]) -> list[Component]:
    """Return the node's three programs, ready to be supervised."""

    def component(
        program: str, argv: Sequence[str | Path], *after: Gate, order: int = controlplane.AGENTS
    ) -> Component:
        name = f"{program}-node{node.index}"
        log = str(layout.logs / f"{name}.log")
        # containerd unpacks and mounts in the temporary folder: a kill must not leave that in the machine's.
        env = {"TMPDIR": str(layout.root / "tmp")}
        return Component(name, inside(node.netns, argv), log, env=env, after=after, order=order)

    kubelet = (
        binaries["kubelet"],
        f"--config={node.root / 'kubelet.json'}",
        f"--kubeconfig={node.root / 'kubelet.kubeconfig'}",
        f"--root-dir={node.root / 'kubelet'}",
        f"--cert-dir={node.root / 'kubelet' / 'pki'}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        # Without it cAdvisor asks the host's containerd, and container metrics lack their pods' labels.
        f"--containerd={node.socket}",
    )
    proxy = (binaries["kube-proxy"], f"--config={node.root / 'kube-proxy.json'}")
    runtime = containerd.command(node.root / "containerd.toml")
    socket = Gate("unix", str(node.socket))
    return [
        component("containerd", runtime, order=controlplane.STORES),
        # Earlier it would fail to list things and wait for seconds before it tries again, later is lost time.
        component("kubelet", kubelet, socket, controlplane.api_listens(layout)),
        component("kube-proxy", proxy, controlplane.api_ready(layout)),
    ]


def registration(node: NodeLayout) -> dict[str, object]:
    """Return the node's object, made before its kubelet starts; kubelet fills it in.

    Else kubelet misses it three times within half a second and then waits for two before it looks again.
    """
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}}


def _kubelet(layout: Layout, node: NodeLayout) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(layout.pki / f"{node.name}.key"),
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "failCgroupV1": False,  # version 1 and hybrid machines are fine
        "clusterDNS": [layout.dns_service],
        "clusterDomain": layout.domain,
        "resolvConf": str(layout.resolv_conf),
        "podLogsDir": str(node.root / "pod-logs"),
        "volumePluginDir": str(node.root / "volume-plugins"),
        "staticPodPath": "",
        "failSwapOn": False,
        # Only look at the machine's kernel settings; the cell shows what kubelet wants to see.
        "protectKernelDefaults": True,
        # Neither may be lowered without CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        # Images are shared with the golden root, and a machine with a full disk is nothing that pods could
        # help.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "serializeImagePulls": False,
        "registerWithTaints": [],
        "shutdownGracePeriod": "0s",
        "enableDebuggingHandlers": True,  # exec, logs and port-forward
    }


def _kube_proxy(layout: Layout, node: NodeLayout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": node.address,
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": str(node.root / "kube-proxy.kubeconfig")},
        "mode": "iptables",
        "clusterCIDR": layout.pod_subnet,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        # The table's size is the machine's, not the namespace's: leave it alone.
        "conntrack": {"maxPerCore": 0, "min": 0},
        # Rules follow endpoints within a tenth of a second; there are few of them.
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }
