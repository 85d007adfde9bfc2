"""The control plane: etcd, API server, controller manager, scheduler, all in the hub's network namespace.

Settings follow `kubeadm`'s static pods where nothing is said; the differences save time on a cluster that
lives for minutes and has one of each: no leader election, no fsync, more requests per second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from meshlab.clusters.local import kubeconfig
from meshlab.clusters.local.certificates import FRONT_PROXY
from meshlab.clusters.local.components import Component, Gate, inside
from meshlab.clusters.local.layout import API_PORT, Layout
from meshlab.core.address import host_port
from meshlab.core.files import write_atomically

ETCD = "http://127.0.0.1:2379"  # only the hub's namespace reaches it
AGENTS, STORES = 2, 1  # order of stopping: what talks to etcd or containerd goes first


def prepare(layout: Layout) -> None:
    """Write the kubeconfigs of the control plane and the administrator's, and the nodes' resolver.

    The keys must be there.
    """
    for user in ("kube-controller-manager", "kube-scheduler"):
        kubeconfig.write(layout, layout.root / "hub" / f"{user}.kubeconfig", user)
    kubeconfig.write(layout, layout.kubeconfig, "admin")
    # Also of pods that don't use the cluster's server by name: there is none outside.
    write_atomically(layout.resolv_conf, f"nameserver {layout.dns_service}\n")


def api_ready(layout: Layout) -> Gate:
    """Open once the API server has bootstrapped RBAC: until then a stranger gets a 403 for /readyz."""
    return Gate("https", f"{layout.endpoint}/readyz", str(layout.ca))


def api_listens(layout: Layout) -> Gate:
    """Open once the API server takes connections, a second or so before it is ready."""
    return Gate("tcp", host_port(layout.hub_address, API_PORT))


def components(layout: Layout, binaries: Mapping[str, Path]) -> list[Component]:
    """Return the four programs, ready to be supervised."""
    ready = api_ready(layout)

    def component(name: str, flags: Mapping[str, object], *after: Gate, order: int = AGENTS) -> Component:
        words = [f"--{flag}={value}" for flag, value in flags.items()]
        argv = inside(layout.hub_netns, [binaries[name], *words])
        return Component(name, argv, str(layout.logs / f"{name}.log"), after=after, order=order)

    return [
        component("etcd", _etcd(layout), order=STORES),
        component("kube-apiserver", _api_server(layout)),
        # Both exit when RBAC is not there yet, so they wait for it (and are restarted when that was not
        # enough).
        component("kube-controller-manager", _controller_manager(layout), ready),
        component("kube-scheduler", _client_flags(layout, "kube-scheduler"), ready),
    ]


def _etcd(layout: Layout) -> dict[str, object]:
    return {
        "name": layout.hub,
        "data-dir": layout.root / "hub" / "etcd",
        "listen-client-urls": ETCD,
        "advertise-client-urls": ETCD,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "initial-advertise-peer-urls": "http://127.0.0.1:2380",
        "initial-cluster": f"{layout.hub}=http://127.0.0.1:2380",
        # The data die with the cluster; waiting for the disk would only slow every write down.
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }


def _api_server(layout: Layout) -> dict[str, object]:
    pki = layout.pki
    return {
        "advertise-address": layout.hub_address,
        "secure-port": API_PORT,
        "etcd-servers": ETCD,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "client-ca-file": layout.ca,
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "cert-dir": pki,
        "kubelet-certificate-authority": layout.ca,
        "kubelet-client-certificate": pki / "apiserver-kubelet.crt",
        "kubelet-client-key": pki / "apiserver-kubelet.key",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": f"https://kubernetes.default.svc.{layout.domain}",
        "service-account-key-file": pki / "service-accounts.key",
        "service-account-signing-key-file": pki / "service-accounts.key",
        "service-cluster-ip-range": layout.service_subnet,
        # Extension API servers (an APIService: metrics-server, say) believe who shows this certificate.
        "requestheader-client-ca-file": layout.front_proxy_ca,
        "proxy-client-cert-file": pki / f"{FRONT_PROXY}.crt",
        "proxy-client-key-file": pki / f"{FRONT_PROXY}.key",
        "requestheader-allowed-names": FRONT_PROXY,
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        # Webhooks and aggregated services are called at their pods' addresses: the hub has no kube-proxy.
        "enable-aggregator-routing": "true",
        "profiling": "false",
    }


def _controller_manager(layout: Layout) -> dict[str, object]:
    return {
        **_client_flags(layout, "kube-controller-manager"),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": layout.pki / "service-accounts.key",
        "root-ca-file": layout.ca,
        "cluster-signing-cert-file": layout.ca,
        "cluster-signing-key-file": layout.pki / "ca.key",
        "cluster-name": layout.name,
        "allocate-node-cidrs": "false",
    }


def _client_flags(layout: Layout, name: str) -> dict[str, object]:
    """Flags of the API server's two clients: all that the scheduler has, some of the controller manager's."""
    configuration = layout.root / "hub" / f"{name}.kubeconfig"
    return {
        "kubeconfig": configuration,
        "authentication-kubeconfig": configuration,
        "authorization-kubeconfig": configuration,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "kube-api-qps": "200",
        "kube-api-burst": "400",
        "profiling": "false",
    }
