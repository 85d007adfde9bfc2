"""A release of Istio on the local cluster: every image is pulled under its official name. Ours stand in for them there.

What a stand-in can't prove is in docs/pages.md. The release is the embedded Istio in the folders of a release; its
IstioOperator has official hub and tag, and what an upstream Envoy needs.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from meshlab.clusters.local import build, materials, pins, rootfs
from meshlab.clusters.local.images import replacement
from meshlab.clusters.local.oci import ImageSpec, RunConfig
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.process import SystemRunner
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import operator_document
from meshlab.kube.client import Kube
from meshlab.observability.addons.images import same
from tests.live.conftest import NAME, Ran, down, run_lab
from tests.live.test_pulled import stand_ins
from tests.registry.registry import Registry, stand_in

pytestmark = [pytest.mark.live, pytest.mark.long]
HUB, TAG = "registry.istio.io/release", "1.31.0"
SAMPLES = ("bookinfo/platform/kube/bookinfo", "sleep/sleep", "tcp-echo/tcp-echo", "addons/prometheus",
           "addons/jaeger", "addons/grafana", "addons/kiali")  # fmt: skip
# Of the program beside Prometheus that reads its configuration again: it has to say that it is well.
IDLE = """import http.server as h
class Well(h.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
h.HTTPServer(("", 8080), Well).serve_forever()"""
PASS = (
    "cluster.nodes-ready", "istio.control-plane", "istio.injection", "istio.proxies-synced", "istio.versions",
    "app.bookinfo", "app.productpage", "authz.truth-table", "ingress.https", "egress.blocked",
)  # fmt: skip


def release(folder: Path, machine: Machine, ours: list[str]) -> tuple[Path, Path]:
    """Lay the embedded Istio out as a release, and write an IstioOperator: istioctl, operator file."""
    compiled = build.built("cluster", machine)
    assert compiled is not None, "the lab before this one has compiled it"
    source = build.module_dir(pins.ISTIO, machine=machine, runner=SystemRunner()) / "samples"
    (folder / "bin").mkdir(parents=True)
    shutil.copy2(compiled["istioctl"], folder / "bin" / "istioctl")
    (folder / "samples").symlink_to(source)
    distribution = Distribution("embedded", compiled["istioctl"], pins.versions().istio, source, tuple(ours))
    operator, _ = operator_document(LabConfig(), distribution, ours)
    operator["spec"] |= {"hub": HUB, "tag": TAG}
    (folder / "operator.yaml").write_text(yaml.safe_dump(operator))
    return folder / "bin" / "istioctl", folder / "operator.yaml"


def official(samples: Path, machine: Machine, specs: dict[str, ImageSpec]) -> dict[str, ImageSpec]:
    """Official reference → what stands in for it: ours where one replaces it, else a program that only runs."""
    text = "\n".join((samples / f"{each}.yaml").read_text() for each in SAMPLES)
    names = {found.strip("\"'") for found in re.findall(r"^\s*(?:- )?image: (\S+)$", text, re.MULTILINE)}
    base = rootfs.ensure(cache_dir=machine.cache, runner=SystemRunner())
    idle = stand_in((base,), RunConfig(entrypoint=("/usr/bin/python3", "-c", IDLE), user="1000:1000"))
    curl = replacement("curlimages/curl", list(specs))
    assert curl is not None
    found = {f"{HUB}/{name}:{TAG}": specs[f"localhost/meshlab/{name}:{tag}"]
             for name in ("pilot", "proxyv2") for tag in [_tag(specs, name)]}  # fmt: skip
    found["registry.test/library/python:3.13-alpine"] = specs[
        curl
    ]  # the registry's own name does not matter here
    pulled = stand_ins(machine)
    for name in names:
        addon = next((spec for key, spec in pulled.items() if f"/{key}:" in name), None)
        own = replacement(name, list(specs))
        found.setdefault(name, addon or (specs[own] if own else idle))
    return found


def _tag(specs: dict[str, ImageSpec], name: str) -> str:
    return next(each.rpartition(":")[2] for each in specs if each.startswith(f"localhost/meshlab/{name}:"))


@pytest.fixture(scope="module")
def lab(
    clean_host: dict[str, list[str]], machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ran, set[str]]]:
    """A kept lab of a release, and the names of all images that the registry has."""
    runner = SystemRunner()
    made = materials.gather(machine, ["prometheus", "jaeger"], runner=runner, progress=lambda _: None)
    specs = {spec.reference: spec for spec in made.specs}
    folder = tmp_path_factory.mktemp("release")
    istioctl, operator = release(folder / "istio", machine, list(specs))
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        there = official(folder / "istio" / "samples", machine, specs)
        for name, spec in there.items():
            registry.push_image(name, spec)
        mirrors = json.dumps({"*": f"http://{registry.place}"})
        words = ["--set", "istio.distribution=release", "--istioctl", str(istioctl)]
        words += ["--set", f"istio.operator_file={operator}", "--set", f"local.registry_mirrors={mirrors}"]
        words += [
            "--set",
            "local.pull=always",
            "--set",
            "local.nodes=1",
            "--set",
            "prometheus.answer_timeout=10",
        ]
        try:
            yield run_lab(tmp_path_factory.mktemp("official"), "--keep", *words), set(there)
        finally:
            assert down().returncode == 0


def test_the_mesh_comes_up_and_what_needs_no_metrics_of_istios_proxy_passes(
    lab: tuple[Ran, set[str]],
) -> None:
    ran, _ = lab
    assert ran.result, ran.output[-6000:]
    found = {name: ran.check(name)["verdict"] for name in PASS}
    assert found == dict.fromkeys(PASS, "pass"), ran.output[-6000:]
    assert ran.result["distribution"] == "release"


def test_every_pod_runs_an_image_under_its_official_name(lab: tuple[Ran, set[str]], machine: Machine) -> None:
    ran, there = lab
    assert ran.result
    kube = Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)
    pods = [pod for space in ("default", "istio-system") for pod in kube.pods(space)]
    used = {image for pod in pods for image in pod.images.values()}
    assert [image for image in used if not any(same(image, each) for each in there)] == []
    assert {f"{HUB}/pilot:{TAG}", f"{HUB}/proxyv2:{TAG}"} <= used
    assert {name for name in used if "examples-bookinfo" in name} and len(used) >= 12
    assert all(pod.is_ready for pod in pods if not pod.deleting)
