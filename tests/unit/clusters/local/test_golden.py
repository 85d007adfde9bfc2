"""The golden root: imported once, added to, redone after an interruption, cloned without shared databases."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from meshlab.clusters.local import golden
from meshlab.clusters.local.golden import Golden
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, content_tag
from meshlab.core.errors import BuildError, ClusterError, ProcessError
from meshlab.core.progress import Update
from tests.fakes.containerd import DATABASES, FakeContainerd

BASE = Layer.of([Entry("etc/base", data=b"base")])


def image(name: str, content: bytes = b"1") -> ImageSpec:
    layers = (BASE, Layer.of([Entry("opt/content", data=content)]))
    return ImageSpec(f"localhost/x/{name}", content_tag(layers), layers)


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sockets of these tests; short, because their length is checked."""
    folder = tmp_path / "run"
    monkeypatch.setattr(golden, "RUN", folder)
    monkeypatch.setattr("meshlab.clusters.local.containerd.SOCKET_MAX", 400)
    return folder


Ensure = Callable[..., Golden]


@pytest.fixture
def ensure(tmp_path: Path) -> Ensure:
    def call(runner: FakeContainerd, *specs: ImageSpec, stop: threading.Event | None = None) -> Golden:
        return golden.ensure(specs, cache_dir=tmp_path / "cache", runner=runner, stop=stop)

    return call


def test_everything_is_imported_once_in_one_archive(ensure: Ensure, run_folder: Path) -> None:
    runner = FakeContainerd()
    one, two = image("one"), image("two")
    made = ensure(runner, one, two)
    assert made.images == tuple(sorted((one.reference, two.reference)))
    assert runner.imports == [[one.reference, two.reference]]
    assert ensure(runner, one, two) == made
    assert len(runner.spawned) == 1
    assert all(child.poll() is not None for child in runner.children)
    assert not list(run_folder.glob("*")) and not list(made.path.parent.glob("*.tar"))


def test_the_temporary_containerd_can_neither_leak_mounts_nor_outlive_us(ensure: Ensure) -> None:
    runner = FakeContainerd()
    ensure(runner, image("one"))
    assert runner.spawned[0][:2] == ("unshare", "--mount")
    assert "--pdeathsig" in runner.spawned[0]
    assert "io.containerd.grpc.v1.cri" in runner.config["disabled_plugins"]


def test_a_later_image_is_only_added(ensure: Ensure) -> None:
    runner = FakeContainerd()
    one, later = image("one"), image("later")
    first = ensure(runner, one)
    second = ensure(runner, one, later)
    assert runner.imports == [[one.reference], [later.reference]]
    assert second.path == first.path and second.images == tuple(sorted((one.reference, later.reference)))
    assert ensure(runner, later).images == second.images


def test_a_failed_import_is_not_taken_for_success(ensure: Ensure, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="disk full"):
        ensure(FakeContainerd(fail_import="disk full"), image("one"))
    stray = next((tmp_path / "cache/golden").glob("*/root")) / "stray"
    stray.touch()
    runner = FakeContainerd()
    assert ensure(runner, image("one")).images == (image("one").reference,)
    assert not stray.exists()  # what the failed import left was removed first
    assert len(runner.imports) == 1


def test_an_image_that_containerd_did_not_take_is_an_error(ensure: Ensure) -> None:
    one, two = image("one"), image("two")
    with pytest.raises(BuildError, match=two.reference):
        ensure(FakeContainerd(lost=[two.reference]), one, two)


def test_a_containerd_that_dies_fails_with_its_log(ensure: Ensure) -> None:
    with pytest.raises(ClusterError, match="no space"):
        ensure(FakeContainerd(exits="no space left"), image("one"))


def test_a_stop_ends_the_import_and_containerd(ensure: Ensure) -> None:
    runner, stop = FakeContainerd(), threading.Event()
    stop.set()
    with pytest.raises(ProcessError, match="stopped"):
        ensure(runner, image("one"), stop=stop)
    assert all(child.poll() is not None for child in runner.children)


def test_another_containerd_or_base_gets_a_root_of_its_own(ensure: Ensure) -> None:
    first = ensure(FakeContainerd(), image("one"))
    second = ensure(FakeContainerd(version="1.7.0"), image("one"))
    other = Layer.of([Entry("etc/base", data=b"newer")])
    third = ensure(FakeContainerd(), ImageSpec("localhost/x/one", "t", (other,)))
    assert len({first.path, second.path, third.path}) == 3


def test_two_at_once_import_once(ensure: Ensure) -> None:
    runners = [FakeContainerd(), FakeContainerd()]
    threads = [threading.Thread(target=ensure, args=(runner, image("one"))) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sum(len(runner.imports) for runner in runners) == 1


def test_progress_counts_up_to_its_total(tmp_path: Path) -> None:
    seen: list[Update] = []
    golden.ensure([image("one")], cache_dir=tmp_path, runner=FakeContainerd(), progress=seen.append)
    assert [update.done for update in seen] == [1, 2, 3, 4]
    assert seen[-1].percent == 100


def test_a_clone_links_content_and_copies_databases(ensure: Ensure, tmp_path: Path) -> None:
    runner = FakeContainerd()
    made = ensure(runner, image("one"))
    content = made.path / "io.containerd.content.v1.content/blob"
    content.parent.mkdir()
    content.write_text("big")
    golden.clone(made, tmp_path / "node/root", runner=runner)
    clone = tmp_path / "node/root"
    assert (clone / "io.containerd.content.v1.content/blob").samefile(content)
    for name in DATABASES:
        assert (clone / name).read_bytes() == (made.path / name).read_bytes()
        assert not (clone / name).samefile(made.path / name)


def test_a_clone_refuses_to_overwrite_and_redoes_a_half_one(ensure: Ensure, tmp_path: Path) -> None:
    runner = FakeContainerd()
    made = ensure(runner, image("one"))
    half = tmp_path / "node/root.part"
    half.mkdir(parents=True)
    (half / "stray").touch()
    golden.clone(made, tmp_path / "node/root", runner=runner)
    assert not (tmp_path / "node/root/stray").exists()
    with pytest.raises(ClusterError, match="exists already"):
        golden.clone(made, tmp_path / "node/root", runner=runner)


def test_importing_into_a_running_node(tmp_path: Path, ensure: Ensure) -> None:
    runner = FakeContainerd()
    ensure(runner, image("one"))  # gives the fake its socket
    later = image("later")
    golden.import_into(Path(runner.config["grpc"]["address"]), [later], runner=runner)
    assert runner.imports[-1] == [later.reference]


def test_a_clone_on_another_file_system_is_a_copy(
    ensure: Ensure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = FakeContainerd()
    made = ensure(runner, image("one"))

    def other_device(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", other_device)
    golden.clone(made, tmp_path / "node", runner=runner)
    whole = {path.relative_to(made.path) for path in made.path.rglob("*")}
    assert {path.relative_to(tmp_path / "node") for path in (tmp_path / "node").rglob("*")} == whole and whole
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "node").rglob("*") if path.is_file())
