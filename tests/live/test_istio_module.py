"""What the code knows by heart about the Istio that it compiles, held against that Istio itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.app import bookinfo
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio import profiles
from meshlab.istio.distribution import NEEDED_SAMPLES, Distribution, locate
from meshlab.istio.install import operator_document
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.apply import read_manifests
from meshlab.observability.addons import prometheus
from tests.live.conftest import Ran

pytestmark = pytest.mark.live
IMAGES = ("localhost/meshlab/pilot:abc", "localhost/meshlab/proxyv2:abc")


@pytest.fixture(scope="module")
def distribution(kept_lab: Ran, machine: Machine) -> Distribution:
    """The embedded one, which the kept lab compiled."""
    return locate(LabConfig(), machine=machine, images=IMAGES)


def test_the_known_profiles_are_its_profiles(distribution: Distribution) -> None:
    known = {*profiles.EMBEDDED_RUNS, *profiles.EMBEDDED_REFUSES}
    assert known == set(profiles.in_folder(distribution.root / "manifests" / "profiles"))


def test_its_samples_are_there(distribution: Distribution) -> None:
    assert [name for name in NEEDED_SAMPLES if not (distribution.samples / name).is_file()] == []


@pytest.mark.parametrize("profile", [name for name in profiles.EMBEDDED_RUNS if name != "empty"])
def test_each_profile_renders_with_our_images_only(distribution: Distribution, profile: str) -> None:
    config = LabConfig.model_validate({"istio": {"profile": profile}})
    document, overridden = operator_document(config, distribution, IMAGES)
    made = Istioctl(distribution.istioctl).generate(document)
    pods = [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Deployment"]
    used = {
        container["image"] for pod in pods for container in pod["containers"] if container["image"] != "auto"
    }
    assert used <= set(IMAGES) and pods and overridden == ()


def test_the_workloads_are_those_of_bookinfo_and_sleep(distribution: Distribution) -> None:
    documents = bookinfo.manifests(distribution)
    found = {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in documents
        if each["kind"] == "Deployment"
    }
    assert set(found) == {workload.name for workload in bookinfo.WORKLOADS}
    for workload in bookinfo.WORKLOADS:
        template = found[workload.name]
        labels = template["metadata"]["labels"]
        assert (labels["app"], labels.get("version", "")) == (workload.app, workload.version)
        assert template["spec"]["serviceAccountName"] == workload.service_account


def test_the_addon_has_the_jobs_that_meet_sidecars(distribution: Distribution) -> None:
    path = distribution.samples / "addons" / "prometheus.yaml"
    images = ("localhost/meshlab/prometheus:abc",)
    changed = prometheus.PROMETHEUS.manifest(distribution, LabConfig(), images)
    assert [each["kind"] for each in changed] == [each["kind"] for each in read_manifests(Path(path))]
    [pod] = [each["spec"]["template"]["spec"] for each in changed if each["kind"] == "Deployment"]
    assert [container["image"] for container in pod["containers"]] == list(images)
