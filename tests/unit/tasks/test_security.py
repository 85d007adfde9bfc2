"""Which image captures, and what the ledger says is still to be put back."""

from __future__ import annotations

from meshlab.config.settings import LabConfig
from meshlab.security.mtls.capture import OFFICIAL_PYTHON
from tasks.security import capture_image
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


def test_the_official_image_comes_from_the_registry_that_the_nodes_pull_from() -> None:
    app = {"image_prefix": "corp.test/hub"}
    official = LabConfig.model_validate({"images": "official", "app": app})
    assert capture_image(cluster(OURS), official) == f"corp.test/hub/{OFFICIAL_PYTHON}"
    assert capture_image(cluster(OURS), LabConfig.model_validate({"app": app})) == OURS
    both = {"images": "official", "app": app, "security": {"capture_image": "mine:1"}}
    assert capture_image(cluster(OURS), LabConfig.model_validate(both)) == "mine:1"
