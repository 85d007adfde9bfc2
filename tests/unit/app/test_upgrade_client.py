"""Clients are Istio's own sample, each in a Deployment of its own, found by their numbers."""

from __future__ import annotations

from pathlib import Path

from meshlab.app import upgrade_client
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from tests.fakes.kube import FakeKube, make_pod

SLEEP = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: sleep}
---
apiVersion: v1
kind: Service
metadata: {name: sleep}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec:
      serviceAccountName: sleep
      containers: [{name: sleep, image: curlimages/curl}]
"""


def test_a_client_has_a_deployment_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sleep").mkdir()
    (tmp_path / "sleep" / "sleep.yaml").write_text(SLEEP)
    distribution = Distribution("release", tmp_path / "istioctl", "1.31.0", tmp_path)
    account, deployment = upgrade_client.documents(distribution, 2)
    assert account["metadata"]["name"] == "upgrade-client"
    assert deployment["metadata"]["name"] == "upgrade-client-2"
    labels = {"app": "upgrade-client", "number": "2"}
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    template = deployment["spec"]["template"]
    assert template["metadata"]["labels"] == labels
    assert template["spec"]["serviceAccountName"] == "upgrade-client"


def test_clients_are_found_by_number_and_only_ready_ones_send() -> None:
    labels = {"app": "upgrade-client"}
    kube = FakeKube(
        [
            make_pod("b", labels={**labels, "number": "2"}),
            make_pod("a", labels={**labels, "number": "10"}),
            make_pod("c", labels={**labels, "number": "3"}, conditions=[]),
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "d", "namespace": "default", "labels": {**labels, "number": "3"}},
            },
        ]
    )
    assert upgrade_client.ready_clients(kube, "default") == [2, 10]  # type: ignore[arg-type]
    assert upgrade_client.deployed(kube, "default") == [3]  # type: ignore[arg-type]


def test_the_client_calls_the_page_from_a_namespace_of_its_own() -> None:
    config = LabConfig.model_validate({"app": {"namespace": "shop"}})
    assert upgrade_client.client_namespace(config) == "shop-upgrade"
    assert upgrade_client.page_url(config).split("/", 2)[2] == "productpage.shop:9080/productpage"
