"""What several tests of the local cluster start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.local import layout, network
from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LocalSettings, Machine


def machine_in(folder: Path) -> Machine:
    """A machine whose cache and state are below `folder`."""
    return Machine(
        cache=folder / "cache", state=folder / "state", home=folder, path="/usr/sbin:/usr/bin:/sbin:/bin"
    )


def layout_in(
    folder: Path, *, nodes: int = 3, name: str = "unit", net: str = "10.250", domain: str = "cluster.local"
) -> Layout:
    """A cluster's layout below `folder`."""
    return Layout.of(
        LocalSettings(name=name, nodes=nodes, network=net, cluster_domain=domain), machine_in(folder)
    )


def netns_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let names of network namespaces be files in a folder of the test."""
    names = folder / "netns"
    for module in (layout, network):
        monkeypatch.setattr(module, "NETNS_DIR", names)
    return names
