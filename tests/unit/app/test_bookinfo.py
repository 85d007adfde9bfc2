"""Bookinfo and sleep come from the distribution's own manifests, unchanged but for the images."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from meshlab.app import bookinfo as app
from meshlab.app.deployment import with_images
from meshlab.clusters.local import images
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from tests.fakes.kube import FakeKube

OURS = [f"{images.HUB}/{name}:1" for name in (*images.BOOKINFO, "curl")]


def deployment(workload: app.Workload, image: str) -> dict:
    labels = {"app": workload.app} | ({"version": workload.version} if workload.version else {})
    pod = {
        "serviceAccountName": workload.service_account,
        "containers": [{"name": workload.app, "image": image}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": workload.name, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@pytest.fixture
def distribution(tmp_path: Path) -> Distribution:
    """A release whose samples have the shape of Istio's."""
    bookinfo = [
        deployment(w, f"registry.example/examples-bookinfo-{w.name}:1.20") for w in app.WORKLOADS[:-1]
    ]
    for name, documents in (
        (app.BOOKINFO, bookinfo),
        (app.SLEEP, [deployment(app.SLEEPER, "registry.example/curlimages/curl:8")]),
    ):
        path = tmp_path / "samples" / name
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump_all(documents))
    return Distribution("release", Path("istioctl"), "1.30.0", tmp_path / "samples")


def test_official_images_leave_everything_as_it_is(distribution: Distribution):
    written = [
        document
        for name in (app.BOOKINFO, app.SLEEP)
        for document in yaml.safe_load_all((distribution.samples / name).read_text())
    ]
    assert app.manifests(distribution) == written
    assert with_images(FakeKube(), LabConfig(images="official"), written, OURS) == written  # type: ignore[arg-type]


def test_embedded_images_replace_each_one(distribution: Distribution):
    config = LabConfig(images="embedded")
    found = with_images(FakeKube(), config, app.manifests(distribution), OURS)  # type: ignore[arg-type]
    used = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]["image"] for each in found
    }
    assert used["reviews-v3"] == f"{images.HUB}/examples-bookinfo-reviews-v3:1"
    assert used["sleep"] == f"{images.HUB}/curl:1" and len(used) == 7


def test_the_edges_join_known_workloads():
    names = {workload.name for workload in app.WORKLOADS}
    assert {name for edge in app.EDGES for name in edge} == names
    assert (app.REVIEWS_V1.name, app.RATINGS.name) not in app.EDGES, "v1 shows no stars"


def test_identities_and_selectors():
    assert app.PRODUCTPAGE.service_account == "bookinfo-productpage"
    assert (app.REVIEWS_V2.selector, app.SLEEPER.selector) == ("app=reviews,version=v2", "app=sleep")
