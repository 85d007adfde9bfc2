"""A kept lab whose addons run in their official images, pulled from a registry: what stands in for them there is ours."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.clusters.local import build, pins, rootfs
from meshlab.clusters.local.images import addon_image
from meshlab.clusters.local.materials import layer_cache
from meshlab.clusters.local.oci import Entry, ImageSpec, RunConfig
from meshlab.config.settings import Machine
from meshlab.core.process import SystemRunner
from meshlab.kube.apply import read_manifests
from meshlab.kube.client import Kube
from meshlab.observability.addons.images import images
from tests.live.conftest import NAME, Ran, down, run_lab
from tests.registry.registry import Registry, stand_in

pytestmark = [pytest.mark.live, pytest.mark.long]
STAND_INS = Path(__file__).parents[1] / "registry" / "stand_ins"
PROGRAMS = {"grafana": "stand-in", "kiali": "opt/kiali/kiali"}  # as the manifest, or the image, starts it
PAGES = {"Grafana": "Grafana's stand-in", "Kiali": "Kiali's stand-in"}


def stand_ins(machine: Machine) -> dict[str, ImageSpec]:
    """Addon → image. Jaeger's is the real program, compiled by this project."""
    base = rootfs.ensure(cache_dir=machine.cache, runner=SystemRunner())
    layers = layer_cache(machine)
    found = {}
    for name, place in PROGRAMS.items():
        program = Entry(place, data=(STAND_INS / f"{name}.py").read_bytes(), mode=0o755)
        config = RunConfig(entrypoint=(f"/{place}",), env=("PYTHONDONTWRITEBYTECODE=1",), user="1000:1000")
        found[name] = stand_in((base, layers.layer([program])), config)
    compiled = build.built("jaeger", machine)
    assert compiled is not None, "the lab before this one has compiled it"
    found["jaeger"] = addon_image("jaeger", compiled["jaeger"], base=base, layers=layers)
    return found


@pytest.fixture(scope="module")
def pulled(
    clean_host: dict[str, list[str]], machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ran, dict[str, str]]]:
    """A kept lab, and the official names: addon → reference."""
    samples = build.module_dir(pins.ISTIO, machine=machine, runner=SystemRunner()) / "samples" / "addons"
    names = {
        each: images(read_manifests(samples / f"{each}.yaml"))[0] for each in ("grafana", "kiali", "jaeger")
    }
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        for addon, spec in stand_ins(machine).items():
            registry.push_image(names[addon], spec)
        mirrors = json.dumps({"*": f"http://{registry.place}"})
        words = ["--set", "local.pull=always", "--set", f"local.registry_mirrors={mirrors}"]
        try:
            yield run_lab(tmp_path_factory.mktemp("pulled"), "--keep", *words), names
        finally:
            assert down().returncode == 0


def test_every_check_passes_and_none_is_skipped_for_want_of_an_image(
    pulled: tuple[Ran, dict[str, str]],
) -> None:
    ran, _ = pulled
    assert ran.code == 0, ran.output[-6000:]
    skipped = {each["id"] for each in ran.result["checks"] if each["verdict"] == "skipped"}
    assert skipped == {"uninstall.nothing-left", "teardown.nothing-left"}
    for name in ("grafana.mesh", "grafana.service", "grafana.workload"):
        assert ran.check(name)["evidence"]["source"].startswith("Grafana"), "they are made through Grafana"
    evidence = ran.check("kiali.graph")["evidence"]
    assert len(evidence["edges"]) >= 8 and evidence["version"] == "v2.27.0"
    assert ran.check("graph.agreement")["evidence"]["kiali"] == "compared"


def test_the_official_images_run_unchanged(pulled: tuple[Ran, dict[str, str]], machine: Machine) -> None:
    ran, names = pulled
    assert ran.code == 0
    kube = Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)
    for addon, name in names.items():
        [pod] = kube.pods(
            "istio-system", f"app={addon}" if addon == "jaeger" else f"app.kubernetes.io/name={addon}"
        )
        assert name in pod.images.values() and pod.is_ready
        told = ran.result["images"][addon]
        assert name in told["image"] and told["ours"] is False


def test_every_addon_has_a_page_that_answers(pulled: tuple[Ran, dict[str, str]]) -> None:
    ran, _ = pulled
    links = {each["name"]: each for each in ran.result["links"]}
    for name, text in PAGES.items():
        assert links[name]["kind"] == "page"
        with urllib.request.urlopen(links[name]["url"], timeout=20) as answer:
            assert text in answer.read().decode()
    assert links["Prometheus"]["kind"] == "page" and "Jaeger" in links
