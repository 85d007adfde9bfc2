"""A lab whose Istio was installed by Helm, from the charts of the Istio module: none of it is the product's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshlab import manifests
from meshlab.clusters.local import build, pins, toolchain
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.process import SystemRunner
from meshlab.istio.distribution import locate
from meshlab.istio.images import from_cluster
from meshlab.istio.install import operator_document
from meshlab.istio.names import SYSTEM_NAMESPACE
from meshlab.kube.apply import apply
from meshlab.kube.client import Kube

MODULE = Path(__file__).parent / "gomod"  # pins Helm, as the product's own modules pin theirs
HELM = "helm.sh/helm/v4/cmd/helm"
# Folder under manifests/charts by the name that it has in Istio's own documentation.
FOLDERS: Mapping[str, str] = {
    "base": "base",
    "istiod": "istio-control/istio-discovery",
    "gateway": "gateway",
}
RELEASES = {"base": "istio-base", "istiod": "istiod", "gateway": "istio-ingressgateway"}


def compiled(machine: Machine) -> Path:
    """Helm, compiled with the toolchain of the embedded distribution; Go keeps what it compiled."""
    program = machine.cache / "tests" / "helm"
    program.parent.mkdir(parents=True, exist_ok=True)
    runner = SystemRunner()
    go = toolchain.find(runner, machine.path).go
    words = ["build", "-C", str(MODULE), *pins.BUILD_FLAGS, "-o", str(program), HELM]
    runner.run([str(go), *words], timeout=1800, env=dict(toolchain.ENVIRONMENT))
    return program


def values_of(chart: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a chart that make what istioctl would of an IstioOperator.

    Args:
        chart: base, istiod or gateway.
        document: The IstioOperator, with hub and tag of the lab's images.

    Returns:
        The values.
    """
    spec = document["spec"]
    if chart == "gateway":  # its image is the one that istiod injects
        return {"service": {"type": "ClusterIP"}, "imagePullPolicy": "IfNotPresent"}
    values = spec.get("values") or {}
    shared = {**(values.get("global") or {}), "hub": spec["hub"], "tag": spec["tag"]}
    found = {**values, "global": shared, "meshConfig": spec["meshConfig"], "profile": spec["profile"]}
    return found if chart == "istiod" else {"profile": spec["profile"]}


def install(helm: Path, charts: tuple[str, ...], kube: Kube, kubeconfig: Path) -> None:
    """Install charts as Istio's documentation does, with the images that the cluster holds."""
    machine = Machine.here()
    config = LabConfig()
    distribution = locate(config, machine=machine, images=(), kubernetes=None)
    document, _ = from_cluster(kube, lambda held: operator_document(config, distribution, held))
    folder = build.module_dir(pins.ISTIO, machine=machine, runner=SystemRunner()) / "manifests" / "charts"
    for chart in charts:
        words = ["install", RELEASES[chart], str(folder / FOLDERS[chart]), "--namespace", SYSTEM_NAMESPACE]
        argv = [str(helm), *words, "--create-namespace", "--values", "-", "--wait", "--timeout", "180s"]
        done = subprocess.run(
            argv, input=json.dumps(values_of(chart, document)), capture_output=True, text=True, timeout=200,
            env={**os.environ, "KUBECONFIG": str(kubeconfig)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"helm {' '.join(words)}: {done.stdout}{done.stderr}"
        if chart == "istiod":  # before the gateway's proxy, which must begin with its final configuration
            apply(kube, [manifests.read("telemetry-envoyfilter", ROOT_NAMESPACE="istio-system")])
