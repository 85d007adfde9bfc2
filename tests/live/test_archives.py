"""Images that a user brings as files: on every node under the name that a manifest gives them, both formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlab.clusters.local import archives, containerd, rootfs
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.images import tcp_echo_image
from meshlab.clusters.local.materials import layer_cache
from meshlab.clusters.local.oci import ImageSpec
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.process import SystemRunner
from meshlab.kube.apply import apply, delete
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from tests.examples.archives import docker_save, oci_layout
from tests.live.conftest import NAME, NETWORK, Ran

pytestmark = pytest.mark.live
SAVED, LAYOUT = "registry.test/brought/saved:1", "registry.test/brought/layout:1"


@pytest.fixture(scope="module")
def echo(kept_lab: Ran, machine: Machine) -> ImageSpec:
    """An image of ours that answers on a TCP port."""
    base = rootfs.ensure(cache_dir=machine.cache, runner=SystemRunner())
    return tcp_echo_image(base=base, layers=layer_cache(machine))


def workload(name: str, image: str) -> dict[str, object]:
    """A Deployment of an image that nobody could pull."""
    container = {"name": "echo", "image": image, "imagePullPolicy": "IfNotPresent", "args": ["9000", "hi"]}
    probe = {"tcpSocket": {"port": 9000}, "periodSeconds": 1}
    labels = {"app": name, "sidecar.istio.io/inject": "false"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{**container, "readinessProbe": probe}]},
            },
        },
    }


def test_archives_of_both_formats_run_on_a_cluster_that_is_up(
    kept_lab: Ran, machine: Machine, echo: ImageSpec, tmp_path: Path
) -> None:
    assert kept_lab.directory is not None
    told = json.loads((kept_lab.directory / "evidence" / "cluster.json").read_text())
    cluster = LocalCluster(LocalSettings(name=NAME, network=NETWORK), machine)
    sockets = [one.socket for one in cluster.layout.nodes]
    before = {name for socket in sockets for name in containerd.image_names(socket, runner=cluster.runner)}
    assert not {SAVED, LAYOUT} & before, "the control: they are not there yet"
    brought = [
        archives.read(docker_save(echo, tmp_path / "saved.tar", SAVED)),
        archives.read(oci_layout(echo, tmp_path / "layout.tar", {archives.REF_ANNOTATION: LAYOUT})),
    ]
    assert cluster.add_archives(brought) == (SAVED, LAYOUT)
    for socket in sockets:
        assert {SAVED, LAYOUT} <= set(containerd.image_names(socket, runner=cluster.runner))
    kube = Kube.connect(Path(told["kubeconfig"]), told["context"])
    refs = apply(kube, [workload("saved", SAVED), workload("layout", LAYOUT)])
    try:
        wait_deployments(kube, "default", ["saved", "layout"], timeout=60)
    finally:
        delete(kube, refs, timeout=60)
