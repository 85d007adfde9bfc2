from __future__ import annotations

import ipaddress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LocalSettings, Machine

MACHINE = Machine(cache=Path("/c"), state=Path("/s"), home=Path("/h"))
SETTINGS = st.builds(
    LocalSettings,
    name=st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
    nodes=st.integers(1, 5),
    network=st.integers(0, 255).map(lambda octet: f"10.{octet}"),
)


@given(SETTINGS)
def test_link_names_fit_the_kernel(settings: LocalSettings) -> None:
    layout = Layout.of(settings, MACHINE)
    assert all(len(name) <= 15 for name in [layout.host_link, *(node.hub_link for node in layout.nodes)])


@given(SETTINGS)
def test_subnets_lie_in_the_network_and_apart_from_each_other(settings: LocalSettings) -> None:
    layout = Layout.of(settings, MACHINE)
    everything = ipaddress.ip_network(layout.everything)
    link = ipaddress.ip_network(f"{layout.host_address}/30", strict=False)
    parts = [
        ipaddress.ip_network(n) for n in (layout.node_subnet, layout.pod_subnet, layout.service_subnet)
    ] + [link]
    assert all(part.subnet_of(everything) for part in parts)
    assert not any(a.overlaps(b) for i, a in enumerate(parts) for b in parts[i + 1 :])


@given(SETTINGS)
def test_every_node_has_its_own_addresses_and_names(settings: LocalSettings) -> None:
    layout = Layout.of(settings, MACHINE)
    pods = ipaddress.ip_network(layout.pod_subnet)
    assert all(ipaddress.ip_network(node.pod_subnet).subnet_of(pods) for node in layout.nodes)
    assert all(
        ipaddress.ip_address(node.pod_gateway) in ipaddress.ip_network(node.pod_subnet)
        for node in layout.nodes
    )
    for kind in ("name", "address", "pod_subnet", "cgroup", "root"):
        assert len({getattr(node, kind) for node in layout.nodes}) == settings.nodes
    assert len(set(layout.namespaces)) == settings.nodes + 1


@given(SETTINGS)
def test_services_have_their_fixed_addresses(settings: LocalSettings) -> None:
    layout = Layout.of(settings, MACHINE)
    services = ipaddress.ip_network(layout.service_subnet)
    assert ipaddress.ip_address(layout.kubernetes_service) == services[1]
    assert ipaddress.ip_address(layout.dns_service) == services[10]


def test_everything_of_a_cluster_is_below_its_folder() -> None:
    layout = Layout.of(LocalSettings(name="lab"), MACHINE)
    assert layout.root == Path("/s/clusters/lab")
    paths = [
        layout.kubeconfig,
        layout.pki,
        layout.plan,
        layout.status,
        layout.logs,
        layout.nodes[0].socket,
    ]
    assert all(path.is_relative_to(layout.root) for path in paths)
