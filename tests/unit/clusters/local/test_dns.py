from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.local import dns
from meshlab.clusters.local.api import PATHS, Api
from meshlab.clusters.local.layout import Layout
from meshlab.core.errors import WaitTimeout
from tests.fakes.clock import FakeClock
from tests.unit.clusters.local.cluster_fixtures import layout_in


def test_the_manifest_gets_image_and_address(tmp_path: Path) -> None:
    found = {
        document["kind"]: document for document in dns.documents(layout_in(tmp_path), "localhost/coredns:1")
    }
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "localhost/coredns:1" and container["imagePullPolicy"] == "IfNotPresent"
    assert found["Service"]["spec"]["clusterIP"] == "10.250.128.10"
    assert (
        found["Service"]["spec"]["selector"] == found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    )
    assert "kubernetes cluster.local" in found["ConfigMap"]["data"]["Corefile"]
    assert set(found) <= set(PATHS), "the small client knows every kind of the manifest"


class _Deployment(Api):
    """An API server that knows one deployment, with another status at each look."""

    def __init__(self, layout: Layout, *statuses: dict[str, int]) -> None:
        super().__init__(layout)
        self.statuses = list(statuses)

    def call(self, method: str, path: str, body: object = None) -> object:
        assert (method, path) == ("GET", dns.DEPLOYMENT)
        return {"status": self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]}


def test_it_is_awaited_until_one_is_available(tmp_path: Path) -> None:
    clock = FakeClock()
    api = _Deployment(layout_in(tmp_path), {}, {"availableReplicas": 0}, {"availableReplicas": 1})
    dns.await_available(api, timeout=5, clock=clock)
    assert len(clock.slept) == 2


def test_a_server_that_never_comes_is_named(tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout, match="DNS server; last seen: 0 of 1 available"):
        dns.await_available(_Deployment(layout_in(tmp_path), {}), timeout=5, clock=FakeClock())
