"""Which image captures, and what the ledger says is still to be put back."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from tasks.security import OFFICIAL_PYTHON, capture_image, trust_domain
from tests.fakes.kube import FakeKube, make_pod

OURS = "localhost/meshlab/curl:abc"


def cluster(image: str) -> FakeKube:
    pod = make_pod("caller")
    pod["spec"]["containers"][0]["image"] = image
    return FakeKube([pod])


def test_ours_where_it_is_embedded_else_the_official_one_and_the_setting_wins() -> None:
    embedded, official = LabConfig(), LabConfig(images="official")
    assert capture_image(cluster(OURS), embedded) == OURS
    assert capture_image(cluster(OURS), official) == OFFICIAL_PYTHON
    assert capture_image(cluster("curlimages/curl:8"), embedded) == OFFICIAL_PYTHON
    named = LabConfig.model_validate({"security": {"capture_image": "mine:1"}})
    assert capture_image(cluster(OURS), named) == "mine:1"


def test_the_trust_domain_is_the_meshs_own() -> None:
    def mesh(text: str) -> FakeKube:
        meta = {"name": "istio", "namespace": "istio-system"}
        return FakeKube([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"mesh": text}}])

    assert trust_domain(mesh("trustDomain: td.example")) == "td.example"
    assert trust_domain(mesh("{}")) == "cluster.local"


def test_where_the_configuration_may_not_be_read_it_is_istios_default() -> None:
    class Closed(FakeKube):
        status = 403

        def objects(self, *args: Any, **options: Any) -> NoReturn:
            raise KubeError("list ConfigMap: no", status=self.status)

    closed = Closed()
    assert trust_domain(closed) == "cluster.local"  # type: ignore[arg-type]
    closed.status = 500
    with pytest.raises(KubeError):
        trust_domain(closed)  # type: ignore[arg-type]
