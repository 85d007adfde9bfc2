"""The lab that a shape is made of: cluster, Istio, Bookinfo, Prometheus and Jaeger, as the whole lab leaves them with --keep.

No check is made here: whether a whole lab passes is asked elsewhere.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshlab.app import bookinfo, traffic_clients
from meshlab.app.deployment import put_up
from meshlab.clusters.local import build
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.process import SystemRunner
from meshlab.istio import tracing
from meshlab.istio.control_plane import label_namespace
from meshlab.istio.distribution import locate
from meshlab.istio.facts import read_facts
from meshlab.istio.install import install
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import istioctl_of
from meshlab.observability.addons.jaeger import JAEGER, announce
from meshlab.observability.addons.prometheus import PROMETHEUS
from tests.live.conftest import NAME, NETWORK, ROOT, command
from tests.live.shapes import charts
from tests.live.shapes.shape import Shape

ADDONS = ("prometheus", "jaeger")


@dataclass(frozen=True)
class Place:
    """What the lab's cluster is called, and the first two octets of its network."""

    name: str = NAME
    network: str = NETWORK


def settings_of(shape: Shape, place: Place) -> LabConfig:
    """The settings of the lab that a shape needs."""
    local: dict[str, Any] = {
        "name": place.name,
        "network": place.network,
        "pull": "never",
        **(shape.local or {}),
    }
    istio = {"operator_file": str(shape.operator_file)} if shape.operator else {}
    found: Mapping[str, Any] = {"cluster": "local", "local": local, "istio": istio, "keep": True}
    return LabConfig.model_validate(found)


def bring_up(shape: Shape, place: Place, logs: Path) -> Path:
    """Bring the lab of a shape up; returns its kubeconfig."""
    machine, config, runner = Machine.here(), settings_of(shape, place), SystemRunner()
    build.build(["cluster", *ADDONS], machine=machine, runner=runner, log_dir=logs)
    helm = charts.compiled(machine) if shape.charts else None
    cluster = LocalCluster(config.local, machine, addons=ADDONS).up()
    kube = Kube.connect(cluster.kubeconfig, None)
    distribution = locate(config, machine=machine, images=cluster.images, kubernetes=None)
    istioctl = istioctl_of(cluster, distribution)
    if helm is not None:
        charts.install(helm, shape.charts, kube, cluster.kubeconfig)
    else:
        install(config, distribution, kube, istioctl)
    label_namespace(kube, config.namespace)
    announce(config, distribution, kube)
    tracing.enable(kube, config, read_facts(kube, config.namespace))
    for wanted in (bookinfo.manifests(distribution), traffic_clients.documents(distribution, config)):
        put_up(kube, config, wanted, cluster.images)
    for addon in (PROMETHEUS, JAEGER):
        addon.deploy(config, distribution, kube, held=cluster.images)
    return cluster.kubeconfig


def take_down(place: Place) -> None:
    """Remove the lab's cluster, and whatever a run before has left of it."""
    words = ("down", "--name", place.name, "--network", place.network)
    done = subprocess.run(
        command(*words, module="meshlab.clusters.local"),
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stderr:
        print(done.stderr, flush=True)  # what was slow, say
