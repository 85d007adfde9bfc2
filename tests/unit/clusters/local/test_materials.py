from __future__ import annotations

import threading
from pathlib import Path

import pytest

from meshlab.clusters.local import build, golden, images, materials, rootfs
from meshlab.clusters.local.golden import Golden
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.progress import silent
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import layout_in, machine_in

LAYER = Layer.of([Entry("a", data=b"x")])


def test_the_key_changes_with_the_shape_of_the_cluster(tmp_path: Path) -> None:
    keys = [
        materials.key(layout_in(tmp_path)),
        materials.key(layout_in(tmp_path, nodes=2)),
        materials.key(layout_in(tmp_path, net="10.251")),
        materials.key(layout_in(tmp_path, domain="corp.local")),
        materials.key(layout_in(tmp_path), also=["network-policy"]),
        materials.key(layout_in(tmp_path), also=["cni"]),
    ]
    assert len(set(keys)) == 6
    assert keys[0] == materials.key(layout_in(tmp_path))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stand-ins for what compiles, bootstraps and imports; the dictionary holds what they were asked."""
    seen: dict[str, object] = {}
    programs = {name: tmp_path / name for name in ("etcd", "prometheus")}
    specs = tuple(ImageSpec(f"{images.HUB}/{name}", "1", (LAYER,)) for name in ("pause", "coredns"))

    def ensure(wanted: tuple[ImageSpec, ...], **_: object) -> Golden:
        seen["golden"] = [spec.name for spec in wanted]
        return Golden(tmp_path / "golden", tuple(spec.reference for spec in wanted))

    def compiled(stages: list[str], **_: object) -> dict[str, Path]:
        seen["compiled"] = stages
        return programs

    monkeypatch.setattr(build, "build", compiled)
    monkeypatch.setattr(build, "built", lambda stage, _: programs if stage == "prometheus" else None)
    monkeypatch.setattr(build, "module_dir", lambda *_, **__: tmp_path)
    monkeypatch.setattr(rootfs, "ensure", lambda **_: LAYER)
    monkeypatch.setattr(images, "cluster_images", lambda *_, **__: specs)
    monkeypatch.setattr(
        images, "addon_image", lambda name, *_, **__: ImageSpec(f"{images.HUB}/{name}", "1", (LAYER,))
    )
    monkeypatch.setattr(golden, "ensure", ensure)
    return seen


def test_addons_that_are_compiled_are_in_from_the_start(made: dict[str, object], tmp_path: Path) -> None:
    found = materials.gather(
        machine_in(tmp_path), ("prometheus", "jaeger"), runner=FakeRunner(), progress=silent
    )
    assert made["golden"] == [f"{images.HUB}/{name}" for name in ("pause", "coredns", "prometheus")]
    assert found.sandbox_image == f"{images.HUB}/pause:1" and found.dns_image == f"{images.HUB}/coredns:1"
    assert set(found.binaries) == {"etcd", "prometheus"}


def test_what_only_some_clusters_run_is_compiled_when_asked_for(
    made: dict[str, object], tmp_path: Path
) -> None:
    for also in ((), ("network-policy",)):
        materials.gather(machine_in(tmp_path), (), runner=FakeRunner(), progress=silent, also=also)
        assert made["compiled"] == ["cluster", *also]


def test_a_failed_base_image_stops_the_compile(
    made: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()

    def compile_until_stopped(stages: object, *, stop: threading.Event, **_: object) -> dict[str, Path]:
        started.set()
        assert stop.wait(30), "nobody stopped the compile"
        raise BuildError("stopped")

    def fail(**_: object) -> Layer:
        started.wait(30)
        raise ProcessError("no packages")

    monkeypatch.setattr(build, "build", compile_until_stopped)
    monkeypatch.setattr(rootfs, "ensure", fail)
    with pytest.raises(ProcessError, match="no packages"):
        materials.gather(machine_in(tmp_path), (), runner=FakeRunner(), progress=silent)
