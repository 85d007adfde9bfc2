"""Official images are pulled once a run, for the addons that a local cluster can't compile, and only where they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.archives import ImageArchive
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.pull import Pulled, Puller, Refusal
from meshlab.clusters.local.state import Record, State
from meshlab.config.settings import LabConfig, LocalSettings, Machine
from meshlab.core.errors import ClusterError, ProcessError
from meshlab.istio.distribution import Distribution
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.security.mtls.capture import OFFICIAL_PYTHON
from tasks import addons, images
from tests.fakes.mesh import ReadyMesh, make_object

ALL = tuple(f"registry.test/{name}:1" for name in ("grafana/grafana", "kiali/kiali", "jaegertracing/jaeger"))


@pytest.fixture
def istio(tmp_path: Path) -> Distribution:
    folder = tmp_path / "samples" / "addons"
    folder.mkdir(parents=True)
    for name, image in zip(("grafana", "kiali", "jaeger"), ALL, strict=True):
        pod = {"containers": [{"name": name, "image": image}]}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"spec": pod}}
        found = {**make_object("apps/v1", "Deployment", name, "istio-system"), "spec": spec}
        sources = {"datasources.yaml": yaml.safe_dump({"datasources": []})}
        told = {**make_object("v1", "ConfigMap", name, "istio-system"), "data": sources}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all([found, told]))
    return Distribution("embedded", Path("istioctl"), "1", tmp_path / "samples")


class World:
    """What is pulled and imported, and what the log says."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.imported: list[str] = []
        self.said: list[str] = []
        self.refused: dict[str, str] = {}
        self.import_fails = False
        world = self

        def pull(puller: Puller, references: Any, *, progress: Any) -> Pulled:
            world.asked.append(tuple(references))
            found = [each for each in references if each not in world.refused]
            refused = tuple(Refusal(each, why, "log in") for each, why in world.refused.items())
            return Pulled(
                tuple(ImageArchive(Path("x"), "OCI layout", (each,)) for each in found), refused, 5_000_000
            )

        def take(cluster: LocalCluster, brought: Any, *, progress: Any) -> tuple[str, ...]:
            if world.import_fails:
                raise ProcessError("ctr ended with 1: no space left on device", remedy="make room")
            world.imported += [name for each in brought for name in each.images]
            return tuple(world.imported)

        monkeypatch.setattr(Puller, "pull", pull)
        monkeypatch.setattr(LocalCluster, "add_archives", take)
        for module in (images, addons):
            monkeypatch.setattr(module, "log_info", self.said.append)
        self.run: RunRef = create(tmp_path / "runs", "full-lab")
        self.machine = Machine.here({"HOME": str(tmp_path)})
        self.cluster = ClusterRef("local", "x", tmp_path / "kubeconfig", "x")

    def official(self, config: LabConfig, istio: Distribution) -> tuple[str, ...]:
        begin_context(self.run, config, self.machine)
        return images.official_images(self.run, config, self.cluster, istio)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_kept_lab_asks_once_for_all_three(world: World, istio: Distribution) -> None:
    config = LabConfig(keep=True)
    assert world.official(config, istio) == ALL
    assert images.official_images(world.run, config, world.cluster, istio) == ALL
    assert world.asked == [ALL] and images.pulled_before(world.run) == ALL
    assert len(world.said) == 1 and "5 MB" in world.said[0]


@pytest.mark.parametrize(
    "config",
    [
        LabConfig(),
        LabConfig(keep=True, local=LocalSettings(pull="never")),
        LabConfig(keep=True, images="official"),
        LabConfig(keep=True, cluster="existing"),
    ],
)
def test_nobody_else_asks(world: World, istio: Distribution, config: LabConfig) -> None:
    assert world.official(config, istio) == () and world.asked == [] and world.said == []


def test_registries_that_do_not_answer_cost_one_line_that_says_which_checks(
    world: World, istio: Distribution
) -> None:
    world.refused = dict.fromkeys(ALL, "the registry did not answer within 3 s")
    assert world.official(LabConfig(keep=True), istio) == () and world.imported == []
    [line] = world.said
    assert "kiali.graph is skipped" in line and "grafana.*" in line and "within 3 s" in line


def test_images_that_must_be_pulled_end_the_step(world: World, istio: Distribution) -> None:
    world.refused = {ALL[1]: "the registry wants other credentials"}
    with pytest.raises(ClusterError, match="kiali/kiali:1: the registry wants other credentials") as caught:
        world.official(LabConfig(local=LocalSettings(pull="always")), istio)
    assert caught.value.remedy == "log in" and world.imported == []


def test_an_import_that_fails_leaves_the_lab_as_without_a_registry(world: World, istio: Distribution) -> None:
    world.import_fails = True
    assert world.official(LabConfig(keep=True), istio) == ()
    assert "no space left" in world.said[-1] and "kiali.graph is skipped" in world.said[-1]


def test_an_archive_of_the_user_is_not_pulled_again(world: World, istio: Distribution) -> None:
    world.cluster = ClusterRef("local", "x", Path("kubeconfig"), "x", images=("grafana/grafana:1",))
    world.official(LabConfig(keep=True), istio)
    assert world.asked == [ALL[1:]]


SHIPPED = {
    "bookinfo/platform/kube/bookinfo": "registry.test/release/examples-bookinfo-details-v1:1",
    "sleep/sleep": "registry.test/curlimages/curl:8.16.0",
    "tcp-echo/tcp-echo": "registry.test/istio/tcp-echo-server:1.3",
    "addons/prometheus": "registry.test/prom/prometheus:v3",
}


@pytest.fixture
def release(istio: Distribution, tmp_path: Path) -> Distribution:
    for name, image in SHIPPED.items():
        path = tmp_path / "samples" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = {"template": {"spec": {"containers": [{"name": "x", "image": image}]}}}
        path.write_text(
            yaml.safe_dump({**make_object("apps/v1", "Deployment", "x", "default"), "spec": spec})
        )
    gateway = tmp_path / "samples" / "bookinfo" / "networking" / "bookinfo-gateway.yaml"
    gateway.parent.mkdir(parents=True)
    gateway.write_text(yaml.safe_dump(make_object("networking.istio.io/v1", "Gateway", "x", "default")))
    return Distribution("release", Path("istioctl"), "1.30.2", tmp_path / "samples")


class Generating:
    """An istioctl that tells what it would install."""

    def generate(self, document: Any) -> list[dict[str, Any]]:
        assert document["kind"] == "IstioOperator"
        pod = {"containers": [{"name": "discovery", "image": "registry.test/release/pilot:1.30.2"}]}
        return [
            {
                **make_object("apps/v1", "Deployment", "istiod", "istio-system"),
                "spec": {"template": {"spec": pod}},
            }
        ]


def bring(world: World, config: LabConfig, distribution: Distribution) -> tuple[str, ...]:
    begin_context(world.run, config, world.machine)
    found: tuple[str, ...] = images.pull_images.fn(world.run, config, world.cluster, distribution)
    return found


def test_a_release_brings_every_image_that_a_pod_names(
    world: World, release: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "istioctl_of", lambda *_: Generating())
    world.cluster = ClusterRef("local", "x", Path("kubeconfig"), "x", images=("kiali/kiali:1",))
    brought = bring(world, LabConfig.model_validate({"istio": {"distribution": "release"}}), release)
    expected = {
        "registry.test/release/pilot:1.30.2",
        *SHIPPED.values(),
        "python:3.13-alpine",
        ALL[0],
        ALL[2],
    }
    assert set(brought) == expected and set(world.imported) == expected, "what the nodes have is not pulled"


@pytest.mark.parametrize(
    ("given", "there", "absent"),
    [
        ({"istio": {"distribution": "release"}, "images": "embedded"}, "pilot", "curl"),
        ({"images": "official"}, "curl", "pilot"),
        ({"images": "official", "load": {"profile": "50,8,30s"}}, "fortio", "pilot"),
        ({"images": "official", "security": {"capture_image": "corp.test/py:3"}}, "corp.test/py:3", "python"),
        (
            {"images": "official", "app": {"image_prefix": "corp.test"}},
            "corp.test/curlimages/curl",
            "registry.test/curlimages",
        ),
        (
            {"images": "official", "app": {"image_prefix": "corp.test/hub"}},
            f"corp.test/hub/{OFFICIAL_PYTHON}",
            "registry.test/curlimages",
        ),
    ],
)
def test_what_is_ours_is_not_pulled(
    world: World, release: Distribution, monkeypatch: pytest.MonkeyPatch, given: Any, there: str, absent: str
) -> None:
    monkeypatch.setattr(images, "istioctl_of", lambda *_: Generating())
    brought = bring(world, LabConfig.model_validate(given), release)
    assert any(there in each for each in brought) and not any(absent in each for each in brought)


def test_an_image_that_is_refused_ends_the_step_and_nothing_is_imported(
    world: World, release: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "istioctl_of", lambda *_: Generating())
    world.refused = {SHIPPED["addons/prometheus"]: "the registry can't be reached"}
    with pytest.raises(ClusterError, match="prometheus:v3: the registry can't be reached"):
        bring(world, LabConfig.model_validate({"istio": {"distribution": "release"}}), release)
    assert world.imported == []


def test_a_run_that_goes_on_pulls_nothing_twice(
    world: World, release: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "istioctl_of", lambda *_: Generating())
    config = LabConfig.model_validate({"istio": {"distribution": "release"}})
    brought = bring(world, config, release)
    record = Record("key", 1, "10.177", (), "link", "cgroup", images=brought)
    monkeypatch.setattr(State, "record", lambda self: record)
    assert bring(world, config, release) == () and world.asked[1:] == [()]


def test_where_nothing_may_be_pulled_the_archives_are_all(world: World, release: Distribution) -> None:
    given = {"istio": {"distribution": "release"}, "local": {"pull": "never"}}
    assert bring(world, LabConfig.model_validate(given), release) == () and world.asked == []


@pytest.mark.parametrize("pulled", [True, False])
def test_a_pulled_jaeger_runs_in_place_of_the_compiled_one(
    world: World, istio: Distribution, monkeypatch: pytest.MonkeyPatch, pulled: bool
) -> None:
    compiled = "localhost/meshlab/jaeger:abc"
    mesh = ReadyMesh()
    monkeypatch.setattr(addons, "kube_of", lambda cluster: mesh)
    monkeypatch.setattr(addons, "bring_image", lambda *_: (compiled,))
    config = LabConfig(keep=True, local=LocalSettings(pull="auto" if pulled else "never"))
    begin_context(world.run, config, world.machine)
    addons.deploy(addons.JAEGER, world.run, config, world.cluster, istio)
    found = mesh.get("apps/v1", "Deployment", "jaeger", "istio-system")
    assert found is not None
    image = found["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == (ALL[2] if pulled else compiled)
    [facts] = [event["facts"] for event in read_journal(world.run) if event["event"] == "facts"]
    assert facts == {"images": {"jaeger": {"image": image, "ours": not pulled}}}
    assert any("the official Jaeger runs" in each for each in world.said) is pulled


def test_grafana_and_kiali_run_unchanged_where_they_were_pulled(
    world: World, istio: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = ReadyMesh()
    mesh.kinds["v1", "Node"] = False
    monkeypatch.setattr(addons, "kube_of", lambda cluster: mesh)
    config = LabConfig(keep=True)
    begin_context(world.run, config, world.machine)
    for addon in (addons.GRAFANA, addons.KIALI):
        assert addons.deploy(addon, world.run, config, world.cluster, istio) != ()
    assert world.asked == [ALL]
    assert addons.KIALI.why_not(config, istio, mesh, images.pulled_before(world.run)) == ""  # type: ignore[arg-type]
